"""Starting a script again as a process_group of processes, with torchrun's own launcher and our exit codes."""

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
"""How long processes that were told to stop may take to save before they are killed."""


def launch(processes: int, threads: int) -> int:
    """Run this very command line in `processes` processes on this machine, and wait; returns an exit code.

    The first process to fail ends the others. A signal to this process reaches all of them, and each of them alone
    tells the others.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)  # who fails has said why
    options = ["--standalone", f"--nproc-per-node={processes}", "--max-restarts=0", f"--shutdown-timeout={GRACE_S}"]
    options += ["--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"]
    try:
        arguments = run.parse_args([*options, sys.argv[0]])
        arguments.training_script_args = sys.argv[1:]  # its parser would take --log for an abbreviation of its own
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
    """One code for a process_group that failed: bad input first, since running again cannot mend it.

    A process_group decides together to stop, after all have saved: one process that says so speaks for all, however the others
    ended (torch's threads may crash a process whose peers have gone, long after its work was done).
    """
    if EXIT_BAD_INPUT in codes:
        return EXIT_BAD_INPUT
    return EXIT_PREEMPTED if EXIT_PREEMPTED in codes or codes == {-signal.SIGTERM} else 1
