"""Starts the running command again as a process group, with torchrun's own launcher and our exit codes."""

from __future__ import annotations

import logging
import os
import signal
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from myopia.common.errors import EXIT_BAD_INPUT, EXIT_PREEMPTED

log = logging.getLogger(__name__)

GRACE_S = 300
"""How long ranks that were told to stop may take to save before they are killed."""


def launch(processes: int, threads: int) -> int:
    """Run the current command line as `processes` ranks on this machine and wait for them; returns an exit code.

    The first rank to fail ends the others. A signal to this process is passed on to all ranks; one rank that gets it is
    enough, because they agree on stopping.

    Args:
        processes: number of ranks.
        threads: CPU threads of each, unless OMP_NUM_THREADS is set.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)  # a rank that fails has logged why
    options = ["--standalone", f"--nproc-per-node={processes}", "--max-restarts=0", f"--shutdown-timeout={GRACE_S}"]
    options += ["--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"]
    try:
        arguments = run.parse_args([*options, "--module", "myopia"])
        # Set here: its parser would read --log as an abbreviation of an option of its own.
        arguments.training_script_args = sys.argv[1:]
        run.run(arguments)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        code = _exit_code(set(codes.values()))
        if code == 1:
            log.error("processes ended with exit codes %s (negative: a signal)", codes)
        return code
    except SignalException:
        return EXIT_PREEMPTED
    return 0


def _exit_code(codes: set[int]) -> int:
    """One exit code of a process group that failed: bad input first, since running again cannot help.

    Ranks agree on stopping, and do so after all have saved: one that reports it is enough, however the others ended
    (torch's threads may crash a rank whose peers have gone, long after its work was done).
    """
    if EXIT_BAD_INPUT in codes:
        return EXIT_BAD_INPUT
    return EXIT_PREEMPTED if EXIT_PREEMPTED in codes or codes == {-signal.SIGTERM} else 1
