"""The commands of `hier`, by what they are for; hier.cli gathers them."""
