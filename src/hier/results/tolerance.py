"""By how many points a cell may be off the reference and still pass, on another kind of machine.

`hier verify --update-expected` writes them into expected/SUITE.csv, whose column `tolerance` is what counts.
A measure may have its own (hier.results.measures).
"""

TRAINED = 5.0  # training amplifies what rounding differs in
UNTRAINED = 0.5
