"""A Slurm of one node on this machine: a controller and a node daemon, without accounting, munge or systemd.

The node says that it has two GPUs, which are /dev/null and /dev/zero: Slurm gives them out and sets
CUDA_VISIBLE_DEVICES, and torch finds no GPU. It listens on the loopback alone, and its files are in one folder. It trusts
who it talks to (auth/none) and runs as root, so it is for a machine without other users, as long as a test lasts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from helpers.cluster_runs import wait_for

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/none
CredType=cred/none
# A job that is put back in the queue waits until its credentials have expired.
AuthInfo=cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# The node is larger than the machine: four jobs at once, memory as a cluster has it.
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=5
KillWait=2
# How busy this machine is must not decide whether a job ends in time.
OverTimeLimit=UNLIMITED
# Jobs are remembered to the end of the test.
MinJobAge=86400
GresTypes=gpu
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:2
PartitionName=main Nodes=node Default=YES MaxTime=INFINITE State=UP
"""
# The executor's job steps drop SLURM_CONF, and srun would look for /etc/slurm/slurm.conf.
SRUN = """#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""
GPUS = "NodeName=node Name=gpu File=/dev/null\nNodeName=node Name=gpu File=/dev/zero\n"


def program(name: str) -> str | None:
    """Return the path of a program of Slurm: daemons are in sbin, which not every PATH has."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))


def lacking() -> str | None:
    """Return why no Slurm can be started here, None where it can."""
    absent = [name for name in ("slurmctld", "slurmd", "sbatch", "srun", "squeue") if program(name) is None]
    if absent:
        return f"{absent[0]} is not installed (Debian: slurm-wlm)"
    return None if os.geteuid() == 0 else "Slurm is started as root here, and this is another user"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Slurm:
    """The cluster; ``variables`` is what makes Slurm's commands talk to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", os.defpath)]),
        }
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir(parents=True)
        srun = folder / "bin" / "srun"
        srun.write_text(SRUN.format(folder=folder, srun=program("srun")))
        srun.chmod(0o755)
        text = CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().split(".")[0],
            controller_port=_free_port(),
            node_port=_free_port(),
        )
        (folder / "slurm.conf").write_text(text)
        (folder / "gres.conf").write_text(GPUS)

    def start(self) -> None:
        """Start both daemons and wait until the node takes jobs."""
        self._start("slurmctld", "-D")
        self.start_node()

    def start_node(self) -> None:
        """Start the node daemon and wait until the node takes jobs."""
        self._start("slurmd", "-D", "-N", "node")
        wait_for(lambda: self.node_state() in ("idle", "mixed", "allocated"), "the node took jobs")

    def _start(self, name: str, *arguments: str) -> None:
        path = program(name)
        assert path is not None
        with open(self.folder / f"{name}.out", "ab") as out:
            self._daemons[name] = subprocess.Popen(
                [path, *arguments],
                env={**os.environ, **self.variables},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _ask(self, *command: str) -> str:
        asked = subprocess.run(command, env={**os.environ, **self.variables}, capture_output=True, text=True)
        return asked.stdout.strip()

    def node_state(self) -> str:
        """Return the state of the node, "" where the controller does not answer; "*" is for a node that does not."""
        for name, daemon in self._daemons.items():
            assert daemon.poll() is None or name == "slurmd", (self.folder / f"{name}.out").read_text()
        return self._ask("sinfo", "--noheader", "--format=%T")

    def jobs(self, comment: str) -> list[dict[str, str]]:
        """Return what Slurm knows of the jobs with this comment (the plugin's: rule and wildcards), first to last."""
        lines = self._ask("scontrol", "show", "job", "--oneliner").splitlines()
        jobs = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        return sorted((job for job in jobs if job.get("Comment") == comment), key=lambda job: int(job["JobId"]))

    def crash_node(self) -> None:
        """Kill the node daemon and all that runs under it, as a loss of power does, and wait until it is missed."""
        self._kill("slurmd")
        for pid in self._on_the_node():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.node_state().startswith("down"), "the controller missed the node")

    def _on_the_node(self) -> list[int]:
        """Return the processes of this cluster's jobs, and of the daemons that watch over them."""
        found = []
        ours = f"SLURM_CONF={self.variables['SLURM_CONF']}"
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                entries = (process / "environ").read_text().split("\0")
                is_job = any(entry.startswith("SLURM_JOB_ID=") for entry in entries)
                if ours in entries and (is_job or (process / "comm").read_text().strip() == "slurmstepd"):
                    found.append(int(process.name))
        return found

    def _kill(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def stop(self) -> None:
        """End the daemons and all that still runs under them."""
        for name in ("slurmd", "slurmctld"):
            if name in self._daemons:
                self._kill(name)
        for pid in self._on_the_node():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
