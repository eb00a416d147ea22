"""What people look at: the plan, the graded table, the page."""
