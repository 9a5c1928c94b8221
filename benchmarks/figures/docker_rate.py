"""todo"""

TITLE = "x"
LIMIT = 100.0


def run(bench):
    pass
