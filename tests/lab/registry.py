"""The machine's ECR: Debian's docker-registry, under ECR's name, with TLS and a password."""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.lab.aws_model import REGISTRY, REGISTRY_ADDRESS
from tests.lab.images import CONFIG_TYPE, MANIFEST_TYPE, Image, digest
from tests.lab.machine import Machine
from tests.lab.network import NamespaceConnection
from tests.lab.pki import SERVER_CERTIFICATE, SERVER_KEY, Pki
from tests.lab.process import SYSTEM_PATH, LabError, Running, wait_until
from tests.lab.registry_door import RegistryFault
from tests.lab.registry_watch import RegistryWatch

PASSWORD = "CANARYecrAuthorizationToken7mK3"
"""What a good ecr:GetAuthorizationToken gives. It is a credential, so leak scans look for it."""

_FOLDER = "/.lab/registry"
_HTPASSWD = f"{_FOLDER}/htpasswd"
_DATA = f"{_FOLDER}/data"
# JSON is YAML.
_CONFIG = {
    "version": 0.1,
    "log": {"level": "warn", "accesslog": {"disabled": True}},
    "storage": {"filesystem": {"rootdirectory": _DATA}, "maintenance": {"uploadpurging": {"enabled": False}}},
    "auth": {"htpasswd": {"realm": "ecr", "path": _HTPASSWD}},
    "http": {
        "addr": f"{REGISTRY_ADDRESS}:443",
        "secret": "lab",
        "tls": {"certificate": SERVER_CERTIFICATE, "key": SERVER_KEY},
    },
}


class Registry:
    def __init__(self, machine: Machine, pki: Pki) -> None:
        self._machine, self._pki = machine, pki
        self._process: Running | None = None
        self._watch = RegistryWatch(machine)
        self._password = PASSWORD
        self._changes = itertools.count(1)

    def start(self) -> None:
        if self._process is not None and self._process.returncode is None:
            return
        if not self._machine.path(_FOLDER).exists():
            self._machine.path(_FOLDER).mkdir()
            self._machine.path(f"{_FOLDER}/config.yml").write_text(json.dumps(_CONFIG))
            self._machine.add_hosts(REGISTRY_ADDRESS, [REGISTRY])
            self.set_password(PASSWORD)
        argv = ["docker-registry", "serve", f"{_FOLDER}/config.yml"]
        # Without it the registry tries to send traces to a collector that is not there.
        env = {"OTEL_TRACES_EXPORTER": "none"}
        if self._watch.running:
            env["REGISTRY_HTTP_ADDR"] = f"{REGISTRY_ADDRESS}:{self._watch.port}"
        self._process = self._machine.start_process(argv, env=env, log="registry.log", network="aws", service=True)

    def wait_ready(self) -> None:
        assert self._process is not None
        self._wait_for(self._process, self._watch.port)
        if self._watch.process is not None:
            self._wait_for(self._watch.process, 443)

    def _wait_for(self, process: Running, port: int) -> None:
        def ready() -> bool:
            if process.returncode is not None:
                raise LabError(f"the registry ended: {process.stdout()[-2000:]}")
            return self._answers(port)

        wait_until(ready, "the registry")

    def _is_silent(self, port: int) -> bool:
        return not self._answers(port)

    def _answers(self, port: int) -> bool:
        with contextlib.suppress(OSError):
            connection = self._connect(port)
            connection.connect()
            connection.close()
            return True
        return False

    def stop(self) -> None:
        """Connections are refused from now on."""
        ports = {443, self._watch.port}
        self._watch.stop()
        if self._process is not None:
            self._process.kill()
            self._process = None
        # What was killed in a namespace of its own keeps its port for a moment: the next one could not have it.
        for port in ports:
            wait_until(functools.partial(self._is_silent, port), f"the end of what had port {port}")

    def watch(self) -> None:
        """From now on every request is written down, and may be broken; until the next reset()."""
        if not self._watch.running:
            self.stop()
            self._watch.start()
            self.start()
            self.wait_ready()

    def add_fault(self, fault: RegistryFault) -> None:
        """Faults are tried in the order in which they were added; the first that matches is used."""
        self.watch()
        self._watch.add_fault(fault)

    def clear_faults(self) -> None:
        """Nothing goes wrong any more; the door stays."""
        self._watch.clear_faults()

    def requests(self, match: str = "") -> list[str]:
        """What was asked since watch(), in order, each as "METHOD /path STATUS" (0: reset), if it has `match` in it."""
        return self._watch.requests(match)

    def set_password(self, password: str) -> None:
        """The only password accepted from now on; tokens given before are as good as expired."""
        htpasswd = shutil.which("htpasswd", path=SYSTEM_PATH)
        assert htpasswd is not None, "apache2-utils is not installed"
        # -C 4 is bcrypt's cheapest: it is paid for on every request.
        line = subprocess.run(
            [htpasswd, "-niB", "-C", "4", "AWS"], input=password, capture_output=True, text=True, check=True
        ).stdout
        file = self._machine.path(_HTPASSWD)
        file.write_text(line)
        # The registry reads the file again only when its time is later than before, to the second.
        stamp = time.time() + 2 * next(self._changes)
        os.utime(file, (stamp, stamp))
        self._password = password

    def push(self, tag: str, image: Image, repository: str = "app") -> str:
        """Store `image` under REGISTRY/repository:tag; returns its manifest's digest."""
        connection = self._connect()
        try:
            for blob in (image.layer, image.config):
                self._push_blob(connection, repository, blob)
            path = f"/v2/{repository}/manifests/{tag}"
            self._call(connection, "PUT", path, image.manifest, MANIFEST_TYPE, expect=201)
        finally:
            connection.close()
        return digest(image.manifest)

    def delete(self, tag: str, repository: str = "app") -> None:
        """Forget a tag: a pull says "manifest unknown". Other tags of the same image stay."""
        shutil.rmtree(self._tags(repository) / tag)

    def tags(self, repository: str = "app") -> dict[str, str]:
        """Every tag with the digest that it points to."""
        links = self._tags(repository).glob("*/current/link")
        return {link.parent.parent.name: link.read_text() for link in links}

    def restore(self, tags: dict[str, str], repository: str = "app") -> None:
        """Make the tags what tags() said before."""
        for tag in self.tags(repository).keys() - tags.keys():
            self.delete(tag, repository)
        for tag, digest_ in tags.items():
            link = self._tags(repository) / tag / "current" / "link"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.write_text(digest_)

    def reset(self) -> None:
        """Running, with the default password, and nobody in front of it."""
        if self._watch.running:
            self.stop()
        if self._password != PASSWORD:
            self.set_password(PASSWORD)
        self.start()
        self.wait_ready()

    def _tags(self, repository: str) -> Path:
        return self._machine.path(f"{_DATA}/docker/registry/v2/repositories/{repository}/_manifests/tags")

    def _connect(self, port: int | None = None) -> NamespaceConnection:
        """To the registry itself, unless another port is given."""
        namespace = str(self._machine.path("/run/netns/aws"))
        tls = self._pki.client_context()
        return NamespaceConnection(namespace, REGISTRY, port or self._watch.port, REGISTRY_ADDRESS, tls)

    def _push_blob(self, connection: NamespaceConnection, repository: str, blob: bytes) -> None:
        name = f"/v2/{repository}/blobs/{digest(blob)}"
        if self._call(connection, "HEAD", name, expect=None)[0] == 200:
            return
        _, location = self._call(connection, "POST", f"/v2/{repository}/blobs/uploads/", b"", expect=202)
        upload = urlsplit(location)
        target = f"{upload.path}?{upload.query}&digest={digest(blob)}"
        self._call(connection, "PUT", target, blob, "application/octet-stream", expect=201)

    def _call(
        self,
        connection: NamespaceConnection,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = CONFIG_TYPE,
        *,
        expect: int | None,
    ) -> tuple[int, str]:
        login = base64.b64encode(f"AWS:{self._password}".encode()).decode()
        connection.request(method, path, body, {"Authorization": f"Basic {login}", "Content-Type": content_type})
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
        if expect not in (None, response.status):
            raise LabError(f"registry: {method} {path}: {response.status} {text[:500]}")
        return response.status, response.headers.get("Location", "")
