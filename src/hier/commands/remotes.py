"""remote check: whether others can have what was pushed."""

import click

from hier.commands.common import InProject, composed


@click.group(name="remote")
def remote() -> None:
    """See that a DVC remote has what dvc.lock names."""


@remote.command(cls=InProject)
@click.option("-r", "--remote", "name", metavar="NAME", help="Which remote.  [default: DVC's default one]")
@click.option("--composed", "only_composed", is_flag=True, help="Only what the composed suites have.")
@click.option("--deep", is_flag=True, help="Read every byte; trust no checksum that the store tells.")
@click.option("--repair", is_flag=True, help="Upload anew, from DVC's cache, what is not whole there.")
def check(name: str | None, only_composed: bool, deep: bool, repair: bool) -> None:
    """Compare every object that dvc.lock names with a DVC remote: what is missing, what is damaged.

    \b
    dvc push && hier remote check      whether all that others need is there
    hier remote check --repair         upload what is missing or damaged, from DVC's cache here

    DVC stores a file under the MD5 of its bytes, and of a folder a list of its files. It asks a remote for
    the list alone: after a `dvc push` that was cut off it can take a folder as pushed whose files are not
    there, and it says nothing of damaged bytes. This command looks at every file: at the MD5 that the store
    tells (S3, of a file that was sent in one part), else at its bytes, which it reads. It changes nothing
    without --repair, which sends whole objects alone, and a folder's list after its files.

    `dvc push` sends the suites that are composed; dvc.lock names others, too, which count here.

    \b
    Exit code 0: every object is there and whole. 1: some are missing, or the remote cannot be used.
    2: there is no such remote. 3: some are damaged.
    """
    from hier.audit import remote as remotes
    from hier.errors import RemoteError, TamperedError
    from hier.jobs import jobs
    from hier.ledger.dvc_lock import Ledger
    from hier.ledger.objects import named_objects

    stages = {job.dvc_name for job in jobs(composed())} if only_composed else None
    objects = named_objects(Ledger(), stages)
    with remotes.open_remote(name) as there:
        found = remotes.check(there, objects, deep)
        wrong = found.wrong
        unmended = remotes.repair(there, found) if repair else dict.fromkeys(wrong, "")
        for one, state in wrong.items():
            done = unmended.get(one, "uploaded anew")
            click.echo(f"{one} is {state}, {one.oid}" + (f": {done}" if done else ""))
        for one in found.unread:
            click.echo(
                f"{one.path}: its list is neither there nor here whole, so no file of it was looked at"
            )
        unseen = sum(one.nfiles for one in found.unread)
        left = found.wrong
        total = len(found.states) + unseen
        click.echo(f"{total - unseen - len(left):,} of {total:,} objects are whole in {there}")
    if left:
        own = f" --remote {name}" * bool(name) + " --composed" * only_composed + " --deep" * deep
        again = f"hier remote check --repair{own}"
        mend = f"upload them anew with: {again}"
        if repair:
            mend = (
                "repair it from a clone whose cache has them whole, or make them anew here (snakemake "
                f"--cores all && hier adopt), then: {again}"
            )
        damaged = sum(state is remotes.State.DAMAGED for state in left.values())
        counts = {"missing": len(left) - damaged + unseen, "damaged": damaged}
        said = " and ".join(f"{number:,} {state}" for state, number in counts.items() if number)
        raise (TamperedError if damaged else RemoteError)(f"objects in {there.name}: {said}; {mend}")
