"""A real Slurm of one node, on the loopback interface, in a folder of its own, as whoever runs the tests."""

import contextlib
import ctypes
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

PROGRAMS = ("slurmctld", "slurmd", "srun", "sbatch", "scancel", "scontrol", "sinfo", "squeue")
MARK = "MYOPIA_TEST_CLUSTER"  # in the environment of the daemons, of those who submit, and so of every job
CPUS = 4  # declared, whatever the machine has: jobs that wait or stand still cost nothing
# A node that was set down stays down until it is resumed (2 would bring it back when it next answers: within milliseconds).
# A job that is put back starts when its credentials have expired and the scheduler has looked again: 2 minutes by default.
CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
CommunicationParameters=NoInAddrAny
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=1
KillWait=10
MinJobAge=3600
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 Gres=gpu:1 State=UNKNOWN
PartitionName=tests Nodes={host} Default=YES PriorityTier=1 State=UP
PartitionName=urgent Nodes={host} PriorityTier=2 MaxTime=5 State=UP
"""


def free_ports(count):
    """Ports nobody listens on. They stay bound until all are found, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(contextlib.closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def missing():
    """What of Slurm is not on this machine."""
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def die_with_us():
    """In a child: be killed when the process of the tests is gone, however it went."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Slurm:
    """Start with `with`; `env` is what a process needs to find it."""

    def __init__(self, folder):
        self.folder, self.node = Path(folder), socket.gethostname().partition(".")[0]
        self.daemons = []
        self.env = {
            MARK: str(self.folder),
            "SLURM_CONF": f"{self.folder}/slurm.conf",
            "PATH": f"{self.folder}/bin{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin",
        }

    def __enter__(self):
        for name in ("bin", "state", "spool"):
            (self.folder / name).mkdir(parents=True)
        values = {"host": self.node, "user": getpass.getuser(), "folder": self.folder, "cpus": CPUS}
        (self.folder / "slurm.conf").write_text(CONFIG.format(ports=free_ports(2), **values))
        (self.folder / "gres.conf").write_text(f"NodeName={self.node} Name=gpu Count=1 File=/dev/null\n")
        # The executor starts the srun inside its jobs without SLURM_CONF, as a real cluster has it in /etc.
        srun = self.folder / "bin/srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        try:
            for command in (["slurmctld", "-D"], ["slurmd", "-D", "-N", self.node]):
                with open(self.folder / f"{command[0]}.out", "w") as out:
                    self.daemons.append(
                        subprocess.Popen(
                            command, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL,
                            stdout=out, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_us,
                        )
                    )  # fmt: skip
            self.until(lambda: self.state().startswith("idle"), 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        """Nothing of it may stay: daemons, jobs, their steps."""
        for _ in range(2):  # what was being started as the first list was made
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()
        for process in self.daemons:
            process.wait()

    def processes(self):
        """All that runs on its behalf."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == str(self.folder):
                    found.append(process)
        return found

    def __call__(self, *words, rc=0):
        """What a client such as squeue prints. Slow ones are dead ones: a lost controller is asked for ten seconds."""
        done = subprocess.run(
            [str(word) for word in words], env={**os.environ, **self.env}, capture_output=True, text=True, timeout=30,
            check=False,
        )  # fmt: skip
        assert rc is None or done.returncode == rc, f"{words}: {done.stdout}{done.stderr}{self.told()}"
        return done.stdout.strip()

    def told(self):
        """The ends of the daemons' logs."""
        parts = []
        for name in ("slurmctld", "slurmd"):
            for path in (self.folder / f"{name}.log", self.folder / f"{name}.out"):
                if path.exists():
                    parts.append(f"\n--- {path.name}\n{path.read_text()[-2000:]}")
        return "".join(parts)

    def state(self):
        return self("sinfo", "--noheader", "--partition", "tests", "--format", "%T", rc=None)

    def until(self, find, seconds=300):
        """What `find` returns, once it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = find()
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"waited {seconds} s in vain{self.told()}")

    def jobs(self, folder):
        """{id: {field: value}} of every job submitted from `folder`, ended ones included, in order."""
        found = {}
        for line in self("scontrol", "--oneliner", "show", "jobs", rc=None).splitlines():
            fields = dict(re.findall(r"(\S+?)=(\S*)", line))
            if Path(fields.get("WorkDir", "/")) == Path(folder):
                found[int(fields["JobId"])] = fields
        return dict(sorted(found.items()))
