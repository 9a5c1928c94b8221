"""Run the benchmarks: `python -m benchmarks [--quick] [names…]`, or `compare REV` for two commits alternately."""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from types import FrameType

from benchmarks import bench, compare, figures, machine, report
from benchmarks.results import Result

BUDGET, QUICK_BUDGET = 900.0, 170.0  #: seconds for all figures together; what is started is still taken down after it


def main() -> int:
    if sys.argv[1:2] == ["compare"]:
        return compare.main(sys.argv[2:])
    options = _options()
    signal.signal(signal.SIGTERM, _on_terminate)  # else what was started would stay
    load, described = machine.load_average(), machine.description()
    _say_what_is_run(options, load)
    results: list[Result] = []
    try:
        until = time.monotonic() + (QUICK_BUDGET if options.quick else BUDGET)
        for name in options.names or figures.ALL:
            results.append(_measure(name, quick=options.quick, left=until - time.monotonic()))
    except KeyboardInterrupt:
        print("stopped; what was measured so far is written", file=sys.stderr)
    path = report.write(results, described=described, load=load, quick=options.quick)
    print(f"\n{path.read_text()}\nwritten to benchmarks/results/{path.name} and .json")
    return 1 if not results or any(result.failure for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure GoDocker on this machine.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(figures.ALL)}; all without")
    parser.add_argument("--quick", action="store_true", help="less of everything, in under three minutes")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in figures.ALL]:
        parser.error(f"there is no {', '.join(unknown)}; choose from {', '.join(figures.ALL)}")
    return options


def _say_what_is_run(options: argparse.Namespace, load: float) -> None:
    print(f"measuring {', '.join(options.names or figures.ALL)}", flush=True)
    if load > machine.BUSY:
        print(
            f"WARNING: the load average is {load:.2f}: others use this machine, and the figures will show it",
            file=sys.stderr,
            flush=True,
        )


def _measure(name: str, *, quick: bool, left: float) -> Result:
    """Measure one figure within the `left` seconds of the run. A failure does not stop the other figures."""
    figure = figures.ALL[name]
    here = bench.Bench(name, quick=quick)
    failure = None
    try:
        with bench.deadline(max(0.001, min(figure.LIMIT, left))):
            figure.run(here)
    except Exception as error:
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}".splitlines()[0]
    return Result(name, figure.TITLE, round(here.seconds, 1), here.rows, here.remarks, here.surroundings(), failure)


def _on_terminate(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
