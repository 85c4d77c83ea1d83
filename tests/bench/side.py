"""The instance of one contender: fresh, deployed or changed; and what runs on it are the measurements."""

from __future__ import annotations

import dataclasses
import json
from typing import Literal

from tests.bench import installed, measure
from tests.bench.measure import Sample
from tests.bench.place import Place
from tests.bench.worlds import Changes, secret_arn, service_names
from tests.lab.aws_model import BUCKET, REGION, REGISTRY
from tests.lab.host import CHECKOUT
from tests.lab.images import build
from tests.lab.imds import PRIVATE_IP
from tests.lab.pki import TRUST_STORE
from tests.lab.process import LabError
from tests.lab.snapshot import Snapshot
from tests.lab.world import BOOTSTRAP_FILE, DATABASE_SECRET_NAME, NAMESPACE, REF, ROLE, SLUG, TAG

OTHER_TAG = "1.4.3"
SCRIPTS = CHECKOUT / "tests" / "bench" / "scripts"
MARKS = "/run/bench.marks"


class Side(Place):
    """Start it, give it a world with `enter`, then `run` what is to be measured."""

    def __init__(self) -> None:
        super().__init__()
        self.tag = TAG
        self.role = ROLE
        self._snapshot = Snapshot(self.machine)
        self._pushed = 0
        self._made: tuple[object, dict[str, str]] | None = None

    def start(self) -> None:
        """With agent and scripts, as a package and an image build leave them."""
        tree, cli = installed.agent_tree(), installed.aws_cli()
        super().start()
        self._install(str(tree), str(cli))
        self._snapshot.take()

    def _install(self, tree: str, cli: str) -> None:
        run, path = self.machine.run, self.machine.path
        path(installed.HOME).mkdir(parents=True, exist_ok=True)
        run(["mount", "--bind", "-o", "ro", tree, installed.HOME], check=True)
        path("/usr/bin/delphi-agent").write_text(installed.launcher())
        path("/usr/bin/delphi-agent").chmod(0o755)
        names = {"aws": cli, **{item.name: str(item) for item in SCRIPTS.iterdir()}}
        for name, target in names.items():
            run(["ln", "-sf", target, f"/usr/local/bin/{name}"], check=True)

    def change(self, *, file: bool = False, parameter: bool = False) -> None:
        """One file of the bundle, or one parameter, has another content than ever before."""
        file_, parameter_ = self.changes.file + file, self.changes.parameter + parameter
        self.enter(self.spec, Changes(file_, parameter_))

    def write_bootstrap(self, tag: str = TAG) -> None:
        self.tag = tag
        variables = {
            "ENVIRONMENT": "prod",
            "HOSTNAME": "api-1",
            "SERVER_ROLE": ROLE,
            "ECR_REGISTRY": REGISTRY,
            "ECR_TAG": tag,
            "CONFIG_BUCKET": BUCKET,
            "CONFIG_REF": REF,
            "CONFIG_SLUG": SLUG,
            "NAMESPACE": NAMESPACE,
            "AWS_REGION": REGION,
            "DB_MASTER_SECRET_ARN": secret_arn(DATABASE_SECRET_NAME),
        }
        file = self.machine.path(BOOTSTRAP_FILE)
        file.parent.mkdir(parents=True, exist_ok=True)
        # A secret's ARN may hold characters that the shell knows.
        file.write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))
        file.chmod(0o600)

    def fresh(self, *, images: Literal["there", "absent", "needless"]) -> None:
        """As an instance that never ran anything; with the images, without them, or for what needs none."""
        self.machine.end_strays()
        self.engine.remove_containers()
        self._snapshot.restore()
        self.engine.reset()
        self.write_bootstrap()
        if images != "needless":
            self._push()
            self.engine.forget_images()
        if images == "there":
            self.pull(TAG)

    def _push(self) -> None:
        """Images for all services are in the registry, in two releases."""
        for name in service_names(self.spec)[self._pushed :]:
            for tag in (TAG, OTHER_TAG):
                self.registry.push(tag, build({"/www/service": f"{name} {tag}\n"}), name)
        self._pushed = max(self._pushed, self.spec.services)

    def pull(self, tag: str) -> None:
        """Have the images of this release on the host."""
        login = ["docker", "--config", "/run/bench-docker", "login", "--username", "AWS", "--password-stdin", REGISTRY]
        self.machine.run(login, input=self.registry._password, check=True)
        for name in service_names(self.spec):
            self.engine.docker("--config", "/run/bench-docker", "pull", "--quiet", f"{REGISTRY}/{name}:{tag}")
        self.machine.run(["rm", "-rf", "/run/bench-docker"])

    def forget(self, tag: str) -> None:
        """Have none of the images of this release on the host; no container uses them."""
        names = [f"{REGISTRY}/{name}:{tag}" for name in service_names(self.spec)]
        self.engine.docker("image", "rm", "--force", *names, check=False)

    def run(self, argv: list[str], **env: str) -> Sample:
        """Measure one run, with the calls that it makes. The environment is systemd's, and `env`."""
        self.machine.path(MARKS).unlink(missing_ok=True)
        self.order("clear")
        asked = len(self.imds.requests())
        sample = measure.run(self.machine, argv, env)
        counts = self.order("counts")
        if counts["calls"].get("refused"):
            log = self.machine.path("/.lab/log/standin.log").read_text()
            raise LabError(f"{' '.join(argv)} asked what the stand-in does not know: {log[-1000:]}")
        imds = len(self.imds.requests()) - asked
        return dataclasses.replace(sample, calls=counts["calls"], connections=counts["connections"], imds=imds)

    def agent(self, *arguments: str) -> Sample:
        """A command of the agent, as systemd would run it."""
        sample = self.run(["delphi-agent", *arguments])
        return dataclasses.replace(sample, parts=self._steps()) if arguments[0] == "init" else sample

    def scripts(self, *command: str) -> Sample:
        """A script, with what it needs to trust the lab's AWS."""
        sample = self.run(list(command), HOME="/root", AWS_CA_BUNDLE=TRUST_STORE, BENCH_MARKS=MARKS)
        return dataclasses.replace(sample, parts=self._marks())

    def environment(self) -> dict[str, str]:
        """The resolved environment, from the script that makes it; and what the bootstrap file has."""
        now = (self.spec, self.changes, self.tag)
        if self._made is None or self._made[0] != now:
            self._made = (now, self._make_environment())
        return self._made[1]

    def _make_environment(self) -> dict[str, str]:
        manifest, surroundings = f"/opt/services/{ROLE}/vars.yaml", {"HOME": "/root", "AWS_CA_BUNDLE": TRUST_STORE}
        script = ["fetch-env.sh", "--manifest", manifest, "--bootstrap", BOOTSTRAP_FILE, "--format", "file"]
        values = self.machine.run(script, env={**surroundings, "PRIVATE_IP": PRIVATE_IP}, check=True).stdout
        given = self.machine.path(BOOTSTRAP_FILE).read_text().replace("'", "")
        return dict(line.split("=", 1) for line in (given + values).splitlines())

    def _steps(self) -> dict[str, float]:
        """Seconds of the agent's own steps; `aws` is from when the credentials are known to files, values and token."""
        steps = json.loads(self.machine.path("/run/delphi-agent/status.json").read_text())["steps"]
        ends = {step["name"]: step["started"] + step["seconds"] for step in steps if step["seconds"] is not None}
        parts = {step["name"]: step["seconds"] for step in steps}
        asked = [ends[name] for name in ("manifest", "bundle", "values", "registry") if name in ends]
        return {**parts, "aws": max(asked) - ends["identity"]}

    def _marks(self) -> dict[str, float]:
        """The same of the scripts: what each step took; `aws` is the sync, the values and the token with its login."""
        file = self.machine.path(MARKS)
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        times = [(name, float(time)) for name, time in lines]
        parts = {name: time - before for (name, time), (_, before) in zip(times[1:], times, strict=False)}
        if parts:
            parts["aws"] = sum(parts[name] for name in ("bundle", "values", "token"))
        return parts
