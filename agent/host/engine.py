"""What is asked of the Docker engine. This module and `engine_link` are the only ones that use the Docker SDK."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from agent.errors import DeadlineExceeded
from agent.host.clock import Deadline
from agent.host.engine_answers import ONE_OFF_LABEL, PROJECT_LABEL, Container, Image, container_of, image_of
from agent.host.engine_link import EngineLink

# What is being removed is gone after this, or stays.
REMOVAL_SECONDS = 10.0
_POLL_SECONDS = 0.2
_AT_WORK = frozenset({"running", "paused", "restarting"})


class Engine(EngineLink):
    """Its containers, images and networks; every call raises `EngineError` when the engine does not give an answer."""

    def until(self, deadline: Deadline) -> Engine:
        """The same engine for a piece of work with a deadline of its own."""
        return Engine(self.address, deadline)

    def containers(self, project: str) -> list[Container]:
        """The containers of a Compose project, stopped ones too, `compose run` ones not, by name."""
        filters = {"label": [f"{PROJECT_LABEL}={project}", f"{ONE_OFF_LABEL}=False"]}
        with self._asking(f"listing the containers of project {project}"):
            found = self._client().containers(all=True, filters=filters)
            inspected = [self._inspect(item["Id"]) for item in found]
        return sorted((item for item in inspected if item is not None), key=lambda item: item.name)

    def _inspect(self, identity: str) -> Container | None:
        import docker.errors

        try:
            return container_of(self._client().inspect_container(identity))
        except docker.errors.NotFound:
            return None  # removed since the listing

    def running(self) -> int:
        """How many containers run on this host, whoever started them."""
        with self._asking("listing the running containers"):
            return len(self._client().containers(quiet=True))

    def published_ports(self) -> list[tuple[str, frozenset[int]]]:
        """The Compose project (empty: none) of each running container, and the host's ports that it publishes."""
        with self._asking("listing the running containers"):
            found = self._client().containers()
        return [
            (
                (item.get("Labels") or {}).get(PROJECT_LABEL, ""),
                frozenset(port["PublicPort"] for port in item.get("Ports") or () if "PublicPort" in port),
            )
            for item in found
        ]

    def proxies(self) -> dict[str, str]:
        """The proxies that it uses, by the names of their variables; passwords are `xxxxx`."""
        with self._asking("asking the Docker engine for its proxies"):
            info = self._client().info()
        keys = {"HTTP_PROXY": "HttpProxy", "HTTPS_PROXY": "HttpsProxy", "NO_PROXY": "NoProxy"}
        return {name: info.get(key) or "" for name, key in keys.items()}

    def remove_container(self, container: Container) -> None:
        """End a container and remove it; its volumes stay."""
        import docker.errors

        with self._asking(f"removing the container {container.name}"), contextlib.suppress(docker.errors.NotFound):
            self._client().remove_container(container.id, force=True)

    def stop_container(self, container: Container) -> None:
        """Stop a container, in the time that it has for that; returns when it has stopped, or at the deadline."""
        import docker.errors

        with self._asking(f"stopping the container {container.name}"), contextlib.suppress(docker.errors.NotFound):
            # That the engine answers late is no matter: it goes on with the stop.
            with contextlib.suppress(DeadlineExceeded):
                self._client().stop(container.id)
            while self._is_at_work(container) and self._deadline.left() > 0:
                self._deadline.clock.sleep(_POLL_SECONDS)

    def _is_at_work(self, container: Container) -> bool:
        now = self._inspect(container.id)
        return now is not None and now.state in _AT_WORK

    def goes_away(self, container: Container) -> bool:
        """Wait for a container that is being removed; false when it is still there after a while."""
        share = self._deadline.share(REMOVAL_SECONDS)
        with self._asking(f"waiting for the container {container.name} to be removed"):
            while (there := self._inspect(container.id) is not None) and share.left() > 0:
                share.clock.sleep(_POLL_SECONDS)
        return not there

    def rename_container(self, container: Container, name: str) -> None:
        """Give a container another name."""
        with self._asking(f"renaming the container {container.name} to {name}"):
            self._client().rename(container.id, name)

    def remove_all_containers(self) -> list[str]:
        """End and remove every container on this host, with its anonymous volumes; returns their names."""
        import docker.errors

        with self._asking("removing the containers"):
            found = self._client().containers(all=True)
            for item in found:
                with contextlib.suppress(docker.errors.NotFound):
                    self._client().remove_container(item["Id"], force=True, v=True)
        return [str(name).lstrip("/") for item in found for name in item.get("Names") or [item["Id"]]]

    def remove_networks(self, project: str, but: Collection[str]) -> list[str]:
        """Remove the project's networks that are not in `but` and that no container uses; returns their names."""
        import docker.errors

        gone = []
        with self._asking(f"removing networks of project {project}"):
            for item in self._client().networks(filters={"label": f"{PROJECT_LABEL}={project}"}):
                if item["Name"] in but:
                    continue
                with contextlib.suppress(docker.errors.APIError):  # one that is in use stays
                    self._client().remove_network(item["Id"])
                    gone.append(item["Name"])
        return gone

    def log_tail(self, container: Container, lines: int) -> list[str]:
        """The container's last lines, stdout and stderr as they came. They may hold secrets."""
        with self._asking(f"reading the log of container {container.name}"):
            raw = self._client().logs(container.id, stdout=True, stderr=True, tail=lines)
        return [line for line in bytes(raw).decode("utf-8", "replace").splitlines() if line.strip()]

    def images(self) -> list[Image]:
        """The images on the host."""
        with self._asking("listing the images"):
            return [image_of(item) for item in self._client().images()]

    def images_in_use(self) -> set[str]:
        """The ids of images that any container has, running or not."""
        with self._asking("listing the containers"):
            return {item["ImageID"] for item in self._client().containers(all=True)}

    def image_id(self, reference: str) -> str | None:
        """The id of the image with this tag, None when the host does not have it."""
        image = self.image(reference)
        return None if image is None else image.id

    def image(self, reference: str) -> Image | None:
        """The image with this name or id, None when the host does not have it, as it cannot where that is no name.

        Nor has it one for its own platform where it only has that for another (with containerd's image store).
        """
        import docker.errors

        with self._asking(f"looking for the image {reference}"):
            try:
                return image_of(self._client().inspect_image(reference))
            except docker.errors.APIError as error:
                if error.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}:
                    return None
                raise

    def tag_image(self, identity: str, repository: str, tag: str) -> None:
        """Let `repository:tag` name this image, whatever it named before."""
        with self._asking(f"letting {repository}:{tag} name the image {identity}"):
            self._client().tag(identity, repository, tag)

    def image_environment(self, identity: str) -> frozenset[str]:
        """The names of the variables that an image gives to its containers; none when the host does not have it."""
        import docker.errors

        with self._asking(f"looking at the image {identity}"):
            try:
                config: Mapping[str, Any] = self._client().inspect_image(identity).get("Config") or {}
            except docker.errors.ImageNotFound:
                return frozenset()
        return frozenset(entry.partition("=")[0] for entry in config.get("Env") or ())

    def remove_image(self, reference: str) -> bool:
        """Remove a tag or an image; false when something still uses it."""
        import docker.errors

        with self._asking(f"removing the image {reference}"):
            try:
                self._client().remove_image(reference)
            except (docker.errors.ImageNotFound, docker.errors.APIError) as error:
                if isinstance(error, docker.errors.ImageNotFound) or error.status_code == 409:  # noqa: PLR2004 - HTTP Conflict
                    return False
                raise
        return True
