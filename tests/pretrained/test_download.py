"""Downloads from a server on this machine: whole, gone on with, changed, cut, wrong, and none there."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.pretrained.download import download
from mnv2_sweep.pretrained.published import Published, find_published

CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Server(ThreadingHTTPServer):
    """Sends `content`; closes after `stop` bytes where that is set; keeps the ranges that it was asked for."""

    content, tag, stop, ranges = CONTENT, '"one"', None, ()
    knows_ranges = True


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.ranges = (*server.ranges, wanted)
        start, total = 0, len(server.content)
        if wanted and server.knows_ranges and self.headers.get("If-Range") == server.tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start and start == total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(total - start))
        if server.tag:
            self.send_header("ETag", server.tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()
        self.wfile.write(server.content[start : server.stop])

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def one(server: Server) -> Published:
    address = f"http://127.0.0.1:{server.server_port}/weights.h5"
    return replace(find_published("keras-0.35-96"), address=address, sha256=hashlib.sha256(CONTENT).hexdigest()[:8])


def test_a_whole_download_with_its_progress(tmp_path, one):
    seen = []
    path = download(one, tmp_path / "weights", lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT and [p.name for p in path.parent.iterdir()] == [path.name]
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT)) and len(seen) > 3


def test_a_cut_download_goes_on_where_it_stopped(tmp_path, server, one):
    server.stop = 300_000
    with pytest.raises(WeightsError, match="goes on from there"):
        download(one, tmp_path)
    server.stop = None
    assert download(one, tmp_path).read_bytes() == CONTENT
    assert server.ranges == (None, "bytes=300000-")


def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path, server, one):
    server.stop, server.content = 300_000, bytes(len(CONTENT))
    with pytest.raises(WeightsError):
        download(one, tmp_path)
    server.stop, server.content, server.tag = None, CONTENT, '"two"'
    assert download(one, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("how", ["no ranges", "no tag", "weak tag"])
def test_where_going_on_can_t_be_trusted_it_begins_anew(tmp_path, server, one, how):
    server.knows_ranges = how != "no ranges"
    server.tag = {"no tag": "", "weak tag": 'W/"one"'}.get(how, server.tag)
    server.stop = 300_000
    with pytest.raises(WeightsError):
        download(one, tmp_path)
    server.stop = None
    assert download(one, tmp_path).read_bytes() == CONTENT


def test_a_kill_after_the_last_byte_costs_nothing(tmp_path, server, one):
    (tmp_path / f"{one.name}-weights.h5.part").write_bytes(CONTENT)
    (tmp_path / f"{one.name}-weights.h5.part.etag").write_text(server.tag)
    assert download(one, tmp_path).read_bytes() == CONTENT


def test_a_wrong_digest_removes_the_file(tmp_path, server, one):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(WeightsError, match="sha256 .* is wanted; it was removed"):
        download(one, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_offline_it_says_what_to_fetch_and_how_to_add_it(tmp_path, one):
    away = replace(one, address="http://127.0.0.1:9/weights.h5")
    with pytest.raises(WeightsError) as caught:
        download(away, tmp_path)
    message = str(caught.value)
    assert "\n" not in message and away.address in message
    assert "mnv2-sweep weights add weights.h5 --as keras-0.35-96" in message


def test_a_page_that_is_not_there_is_one_line(tmp_path, server, one):
    class Missing(Handler):
        def do_GET(self) -> None:
            self.send_error(404)

    server.RequestHandlerClass = Missing
    with pytest.raises(WeightsError, match="404|Not Found"):
        download(one, tmp_path)
