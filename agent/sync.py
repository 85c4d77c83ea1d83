"""The steps of `fetch`: the bundle on the host is what the bucket has; no container is touched, no value is read."""

from __future__ import annotations

from agent.errors import AgentError, Interrupted
from agent.report.record import Ending
from agent.restore import take_back_files
from agent.run import Run
from agent.stages.bundle import apply_bundle, mend
from agent.stages.fetching import fetch_files
from agent.stages.host import identify, load_bootstrap, locked, recall, warn_of_former_role
from agent.stages.host_files import keep_declared
from agent.stages.release import clean_up


def sync(run: Run) -> Ending:
    """Stage the bundle and put its files in place, in the transaction that the next `init` ends.

    Until then the way back leads to the files of the last verified release, and what the new bundle lacks stays: a
    running container may still use it.
    """
    # It is no deploy: `status` goes on showing the one that was.
    with locked(run, status=False):
        try:
            bootstrap = load_bootstrap(run)
            cloud = identify(run, bootstrap)
            kept = mend(run, recall(run, cloud, repair=True))
            warn_of_former_role(run, bootstrap, kept)
            fetched = keep_declared(fetch_files(run, bootstrap, cloud, kept), bootstrap.role)
            try:
                apply_bundle(run, bootstrap.role, fetched.staged, kept)
            except (AgentError, Interrupted) as error:
                take_back_files(run, error)
                raise
            whose = f"{fetched.slug}/{bootstrap.ref}/{bootstrap.role}"
            staged = fetched.staged
            new = staged is not None and (staged.added or staged.changed)
            text = f"the files of {whose} are in place" if new else f"{whose} is on this host already"
            return Ending(outcome="done", exit_code=0, text=text)
        finally:
            clean_up(run.host.paths)
