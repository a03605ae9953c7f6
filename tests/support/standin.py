"""A stand-in for the Hugging Face Hub on loopback, so that the real clients can be tested without a network.

It serves `root/{models,datasets}/<owner>/<name>/...` read-only, under one commit per repository (a hash of its
content). Its answers are written from what the clients ask and accept; the real hub may differ in what they do
not look at.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

LARGE = (".safetensors", ".bin", ".ckpt", ".parquet", ".zst", ".gz")
"""Suffixes that the hub keeps in large-file storage, with a sha256 as their ETag."""


@dataclass
class Fault:
    """What goes wrong with requests of `method` whose path matches `pattern`, at most `count` times."""

    method: str
    pattern: str
    action: str  # "503", "404", "truncate" (half of the body), "garble" (other bytes, as many) or "hang" (no answer)
    count: int = 10**9


class HubStandIn:
    """The server; a context manager. `url` goes into HF_ENDPOINT, `requests` lists (method, path, status)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, int]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.hanging = threading.Event()  # set once a request hangs
        handler = type("BoundHandler", (_Handler,), {"hub": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def commit(self, kind: str, name: str) -> str:
        """40 hex digits that change with the content of the repository."""
        digest = hashlib.sha1()
        for path in _files(self.root / kind / name):
            digest.update(path.encode() + (self.root / kind / name / path).read_bytes())
        return digest.hexdigest()

    def fault(self, method: str, path: str) -> str | None:
        """The action of the first fault that fits a request, or None."""
        with self.lock:
            for fault in self.faults:
                if fault.method in ("*", method) and re.search(fault.pattern, path) and fault.count > 0:
                    fault.count -= 1
                    return fault.action
        return None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubStandIn

    def log_message(self, *_: object) -> None:
        """Requests are listed in `hub.requests`, not on stderr."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        action = self.hub.fault(self.command, self.path)
        if action == "hang":
            self.hub.hanging.set()
            self.hub.closing.wait()
            self.close_connection = True
            return
        if action == "503":
            self.answer(503, {"error": "made to fail"})
            return
        if action == "404":
            self.missing("EntryNotFound", "made to be absent")
            return
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        api = re.match(r"^/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)/?(.*))?$", path)
        file = re.match(r"^/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)$", path)
        if api:
            self.describe(*api.groups(), query=urllib.parse.parse_qs(url.query))
        elif file:
            kind = "datasets" if file[1] else "models"
            self.resolve(kind, file[2], file[3], file[4], action)
        else:
            self.missing("", f"no such route {path}")

    def describe(
        self, kind: str, name: str, what: str | None, revision: str | None, folder: str | None, query: dict
    ) -> None:
        """Answer about a repository or list one of its folders."""
        commit = self.known_commit(kind, name, revision or "main")
        if commit is None:
            return
        files = _files(self.hub.root / kind / name)
        if what != "tree":
            siblings = [{"rfilename": file} for file in files]
            self.answer(
                200,
                {
                    "_id": "0",
                    "id": name,
                    "sha": commit,
                    "siblings": siblings,
                    "tags": [],
                    "private": False,
                    "gated": False,
                    "disabled": False,
                    "downloads": 0,
                    "likes": 0,
                },
            )
            return
        prefix = f"{folder}/" if folder else ""
        files = [file for file in files if file.startswith(prefix)]
        if folder and not files:
            self.missing("EntryNotFound", f"{folder} does not exist")
            return
        folders: list[str] = []
        if query.get("recursive", [""])[0].lower() != "true":
            folders = sorted({prefix + f[len(prefix) :].split("/")[0] for f in files if "/" in f[len(prefix) :]})
            files = [file for file in files if "/" not in file[len(prefix) :]]
        listing = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in folders]
        self.answer(200, listing + [self.entry(kind, name, file) for file in files])

    def entry(self, kind: str, name: str, file: str) -> dict[str, Any]:
        """A file as a folder listing shows it."""
        content = (self.hub.root / kind / name / file).read_bytes()
        result = {"type": "file", "oid": _etag(file, content), "size": len(content), "path": file}
        if file.endswith(LARGE):
            result["lfs"] = {"oid": _etag(file, content), "size": len(content), "pointerSize": 134}
        return result

    def resolve(self, kind: str, name: str, revision: str, file: str, action: str | None) -> None:
        """Send a file, or the range of it that was asked for."""
        commit = self.known_commit(kind, name, revision)
        if commit is None:
            return
        repository = self.hub.root / kind / name
        path = (repository / file).resolve()
        # Without the commit and an ETag the clients say "we couldn't connect", which would mislead a test.
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not path.is_relative_to(repository.resolve()) or not path.is_file():
            self.missing("EntryNotFound", "Entry not found", headers)
            return
        content = path.read_bytes()
        headers["ETag"] = f'"{_etag(file, content)}"'
        if file.endswith(LARGE):
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": headers["ETag"]}
        status = 200
        wanted = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range") or "")
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            status, content = 206, content[first : last + 1]
        if action == "garble":
            content = bytes(byte ^ 1 for byte in content)
        cut = action == "truncate" and self.command == "GET"
        self.answer(status, content[: len(content) // 2] if cut else content, headers, declared=len(content))
        self.close_connection = self.close_connection or cut

    def known_commit(self, kind: str, name: str, revision: str) -> str | None:
        """The commit of a revision; None once an error has been sent."""
        if not (self.hub.root / kind / name).is_dir():
            self.missing("RepoNotFound", "Repository not found")
            return None
        commit = self.hub.commit(kind, name)
        if revision not in ("main", commit):
            self.missing("RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit

    def missing(self, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        """Send a 404 as the hub words it."""
        extra = {"X-Error-Code": code, "X-Error-Message": message}
        self.answer(404, {"error": message}, {**(headers or {}), **extra})

    def answer(
        self, status: int, body: Any, headers: dict[str, str] | None = None, declared: int | None = None
    ) -> None:
        """Send a response; `declared` is the Content-Length when it is not the body's."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if body is content else "application/json")
        self.send_header("Content-Length", str(len(content) if declared is None else declared))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        with self.hub.lock:
            self.hub.requests.append((self.command, self.path, status))


def _files(repository: Path) -> list[str]:
    return sorted(p.relative_to(repository).as_posix() for p in repository.rglob("*") if p.is_file())


def _etag(file: str, content: bytes) -> str:
    if file.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
