"""CIFAR-10 from a server: every fault ends in one sentence and leaves nothing that could be mistaken for whole.

A real HTTP server on this machine hands out a tiny archive in CIFAR-10's own format, and torchvision's
class is told the address and the checksums of that one.
"""

import hashlib
import io
import os
import pickle
import shutil
import socket
import struct
import tarfile
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from sentences import one_sentence
from torchvision.datasets import CIFAR10

from labkit import data
from labkit.data import cifar10, download

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
UNPACKED = sorted(f"{FOLDER}/{name}" for name in [*BATCHES, "batches.meta"])
WHOLE = [*UNPACKED, ARCHIVE]
PER_BATCH = 4  # images; their noise does not compress, so the archive is some 70 KB


def md5(content):
    return hashlib.md5(content).hexdigest()


# --- the archive -------------------------------------------------------------------------------


def batch_files():
    """{name: content} of the seven files of CIFAR-10, pixels and labels drawn anew for every batch."""
    files = {"batches.meta": pickle.dumps({"label_names": CLASSES, "num_cases_per_batch": PER_BATCH}, protocol=2)}
    for seed, name in enumerate(BATCHES):
        rng = np.random.default_rng(seed)
        pixels, labels = rng.integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8), rng.integers(0, 10, PER_BATCH).tolist()
        files[name] = pickle.dumps({"data": pixels, "labels": labels, "batch_label": name}, protocol=2)
    return files


def pack(files, *members):
    """A tar.gz of CIFAR-10's folder; `members` are (TarInfo, content) put in after it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            tar.addfile(*regular(f"{FOLDER}/{name}", content))
        for member in members:
            tar.addfile(*member)
    return buffer.getvalue()


def regular(name, content=b"it climbed out"):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, io.BytesIO(content)


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, None


# --- the server --------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves `content` in the way that `answer`, a function of the request, has it; counts requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.answer, self.requests = b"", whole, []
        self.reading = threading.Event()  # the client has read the headers
        self.released = threading.Event()  # a stalled answer may end
        self.url = f"http://127.0.0.1:{self.server_port}/{ARCHIVE}"

    def handle_error(self, request, client_address):
        """Clients that hang up are part of these tests; nothing to print."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        self.server.answer(self, self.server.content)

    def send_head(self, length):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *arguments):
        """No lines in the output of the tests."""


def whole(request, content):
    request.send_head(len(content))
    request.wfile.write(content)


def without_length(request, content):
    request.send_head(None)
    request.wfile.write(content)


def half(request, content):
    request.send_head(len(content))
    request.wfile.write(content[: len(content) // 2])


def half_without_length(request, content):
    request.send_head(None)
    request.wfile.write(content[: len(content) // 2])


def reset_amid(request, content):
    half(request, content)
    request.server.reading.wait(10)
    # Linger 0 makes close() send RST instead of the orderly FIN.
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(request.connection.detach())


def stall_amid(request, content):
    half(request, content)
    request.server.released.wait(10)


def stall_at_once(request, content):
    request.server.released.wait(10)


def another_file(request, content):
    whole(request, b"<html>Please log in to the campus network.</html>")


def not_found(request, content):
    request.send_error(404)


def out_of_service(request, content):
    request.send_error(503)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        original = download._copy
        monkeypatch.setattr(download, "_copy", lambda *arguments: (server.reading.set(), original(*arguments))[1])
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


# --- the dataset under test --------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    """The data folder, which does not exist yet."""
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def tiny_cifar(monkeypatch, server):
    """torchvision's class with the checksums of the tiny archive, which the server has; returns {name: content}."""
    files = batch_files()
    monkeypatch.delenv("LABKIT_CIFAR10_URL", raising=False)
    monkeypatch.setattr(CIFAR10, "url", server.url)
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5(files[name])] for name in BATCHES[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [[BATCHES[5], md5(files[BATCHES[5]])]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(files["batches.meta"])})
    publish(monkeypatch, server, pack(files))
    return files


def publish(monkeypatch, server, content):
    """Put an archive on the server and make its MD5 the expected one."""
    server.content = content
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(content))


def load(root):
    """Load as a fresh process would."""
    data._load.cache_clear()
    return data.load("cifar10", root)


def tree(folder):
    """Every file, link and empty folder below `folder`, as relative paths, but for the lock."""
    found = []
    for path in folder.rglob("*") if folder.exists() else ():
        if path.name == ".cifar10.lock":
            continue
        if path.is_symlink() or not path.is_dir() or not any(path.iterdir()):
            found.append(path.relative_to(folder).as_posix())
    return sorted(found)


def assert_loads_after_all(server, root):
    """The fault over, the same command succeeds: nothing it left stands in the way or is taken for whole."""
    server.answer = whole
    splits = load(root)
    assert (len(splits.train), len(splits.test)) == (5 * PER_BATCH, PER_BATCH)
    assert tree(root) == WHOLE


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- all is well -------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [whole, without_length])
def test_images_and_labels_are_those_of_the_archive(server, root, tiny_cifar, capsys, answer):
    server.answer = answer
    splits = load(root)
    entries = [pickle.loads(tiny_cifar[name]) for name in BATCHES]
    pixels = torch.from_numpy(np.concatenate([entry["data"] for entry in entries])).view(-1, 3, 32, 32)
    labels = [label for entry in entries for label in entry["labels"]]
    assert torch.equal(torch.cat([splits.train.images, splits.test.images]), pixels)
    assert splits.train.labels.tolist() + splits.test.labels.tolist() == labels
    assert splits.classes == tuple(CLASSES)
    assert tree(root) == WHOLE
    # The bar belongs to a terminal: a log file gets the one line that says what was loaded.
    assert capsys.readouterr() == ("cifar10: 20 training and 4 test images, 32×32 pixels, 10 classes\n", "")


def test_two_that_start_at_once_fetch_the_archive_once(server, root):
    with ThreadPoolExecutor(2) as pool:
        (first, _), (second, _) = pool.map(cifar10.load, [root, root])
    assert len(server.requests) == 1
    assert first.digest == second.digest


def test_the_second_load_asks_the_server_for_nothing(server, root):
    first, second = load(root), load(root)
    assert len(server.requests) == 1
    assert (second.train.digest, second.test.digest) == (first.train.digest, first.test.digest)


def test_the_archive_may_be_deleted_once_it_is_unpacked(server, root):
    load(root)
    (root / ARCHIVE).unlink()
    load(root)
    assert len(server.requests) == 1


def test_an_archive_put_there_by_hand_is_used_without_a_network(server, root):
    root.mkdir()
    (root / ARCHIVE).write_bytes(server.content)
    load(root)
    assert server.requests == []
    assert tree(root) == WHOLE


def test_the_data_folder_is_that_of_the_environment_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA_ROOT", str(tmp_path / "elsewhere"))
    load(None)
    assert tree(tmp_path / "elsewhere") == WHOLE


# --- the way from the server -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (half, ["was cut short after", "of", "bytes", "run the same command again"]),
        (half_without_length, ["arrived with MD5", "instead of", "try again or another mirror"]),
        (reset_amid, ["was cut short after", "reset", "run the same command again"]),
        (another_file, ["arrived with MD5", "instead of", "damaged or was altered", "another mirror"]),
        (not_found, ["cannot reach", "404", "Not Found", "check", ARCHIVE, "by hand"]),
        (out_of_service, ["cannot reach", "503", "by hand"]),
    ],
)
def test_a_fault_of_the_server_is_one_sentence_leaves_nothing_and_is_overcome(server, root, answer, words):
    server.answer = answer
    with one_sentence(server.url, *words):
        load(root)
    assert tree(root) == []
    assert_loads_after_all(server, root)


def test_a_download_cut_half_way_says_how_far_it_came(server, root):
    server.answer = half
    size = len(server.content)
    with one_sentence(f"after {size // 2:,} of {size:,} bytes"):
        load(root)


@pytest.mark.parametrize(("answer", "words"), [(stall_amid, "was cut short after"), (stall_at_once, "cannot reach")])
def test_a_server_that_falls_silent_is_given_up(monkeypatch, server, root, answer, words):
    monkeypatch.setattr(download, "_TIMEOUT", 0.3)
    server.answer = answer
    with one_sentence(server.url, words, "timed out"):
        load(root)
    assert tree(root) == []
    server.released.set()
    monkeypatch.setattr(download, "_TIMEOUT", 30)
    assert_loads_after_all(server, root)


def test_no_network_says_so_and_how_to_do_without(monkeypatch, server, root):
    address = f"http://127.0.0.1:{closed_port()}/{ARCHIVE}"
    monkeypatch.setattr(CIFAR10, "url", address)
    with one_sentence(f"cannot reach {address}", "refused", "check the network", f"put the file at {root / ARCHIVE} by hand"):
        load(root)
    assert tree(root) == []
    monkeypatch.setattr(CIFAR10, "url", server.url)
    assert_loads_after_all(server, root)


def test_an_interrupted_download_leaves_nothing(monkeypatch, server, root):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download, "_read", interrupt)
        load(root)
    assert tree(root) == []
    assert_loads_after_all(server, root)


# --- mirrors -----------------------------------------------------------------------------------


def test_a_mirror_is_asked_instead_of_the_official_address(monkeypatch, server, root):
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{closed_port()}/{ARCHIVE}")
    monkeypatch.setenv("LABKIT_CIFAR10_URL", server.url.replace(ARCHIVE, "mirror/cifar.tgz"))
    load(root)
    assert server.requests == ["/mirror/cifar.tgz"]
    assert tree(root) == WHOLE


def test_a_mirror_with_other_content_is_not_believed(monkeypatch, server, root):
    monkeypatch.setenv("LABKIT_CIFAR10_URL", server.url)
    server.answer = another_file
    with one_sentence("arrived with MD5", f"instead of {CIFAR10.tgz_md5}"):
        load(root)
    assert tree(root) == []


@pytest.mark.parametrize("address", ["mirror.example/cifar.tgz", "http://", "http://127.0.0.1:port/cifar.tgz", "gopher://x/y"])
def test_a_mirror_that_is_no_address_is_named(monkeypatch, root, address):
    monkeypatch.setenv("LABKIT_CIFAR10_URL", address)
    with one_sentence(f"cannot reach {address}", "check"):
        load(root)
    assert tree(root) == []


def test_an_empty_mirror_means_the_official_address(monkeypatch, server, root):
    monkeypatch.setenv("LABKIT_CIFAR10_URL", "")
    load(root)
    assert len(server.requests) == 1


# --- what lies there already -------------------------------------------------------------------


def test_a_partial_archive_is_said_and_fetched_again(server, root, capsys):
    root.mkdir()
    (root / ARCHIVE).write_bytes(server.content[:10_000])
    load(root)
    assert f"{root / ARCHIVE} is damaged or incomplete" in capsys.readouterr().out
    assert len(server.requests) == 1
    assert tree(root) == WHOLE
    assert (root / ARCHIVE).read_bytes() == server.content


def test_a_partial_archive_is_never_unpacked_when_the_server_fails_too(server, root):
    root.mkdir()
    (root / ARCHIVE).write_bytes(server.content[:10_000])
    server.answer = half
    for _ in range(2):
        with one_sentence("cut short"):
            load(root)
        assert tree(root) == [ARCHIVE]
    assert_loads_after_all(server, root)


def test_what_a_killed_download_left_is_not_taken_for_whole(server, root):
    root.mkdir()
    (root / f"{ARCHIVE}.part").write_bytes(server.content[:10_000] * 20)
    load(root)
    assert tree(root) == WHOLE
    assert (root / ARCHIVE).read_bytes() == server.content


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("damage", [flip_a_byte, cut_short, os.remove])
@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_damaged_batch_is_said_and_unpacked_again_without_a_request(server, root, capsys, name, damage):
    expected = load(root).train.digest
    damage(root / FOLDER / name)
    capsys.readouterr()
    splits = load(root)
    assert f"{root / FOLDER} is damaged or incomplete; unpacking it again" in capsys.readouterr().out
    assert splits.train.digest == expected
    assert len(server.requests) == 1
    assert tree(root) == WHOLE


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_whatever_stands_in_the_place_of_the_folder_makes_room_for_it(root, tmp_path, kind):
    root.mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("stays")
    if kind == "file":
        (root / FOLDER).write_text("not a folder")
    else:
        (root / FOLDER).symlink_to(tmp_path / ("precious" if kind == "link" else "nowhere"))
    load(root)
    assert tree(root) == WHOLE
    assert (tmp_path / "precious/file").read_text() == "stays"


# --- the disk ----------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full to fill a disk")
def test_a_disk_that_fills_during_the_download(server, root):
    root.mkdir()
    (root / f"{ARCHIVE}.part").symlink_to("/dev/full")  # every write ends in a real ENOSPC
    with one_sentence(f"cannot write {root / ARCHIVE}", "No space left on device", "free some disk space", "LABKIT_DATA_ROOT"):
        load(root)
    assert tree(root) == []
    assert_loads_after_all(server, root)


def test_a_disk_that_fills_during_unpacking(server, root):
    resource = pytest.importorskip("resource")
    root.mkdir()
    (root / ARCHIVE).write_bytes(server.content)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A full disk without one: the system refuses to let any file grow beyond 8 KB; a batch has 12.
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with one_sentence(f"cannot unpack {root / ARCHIVE}", "File too large", f"free some disk space in {root}"):
            load(root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(root) == [ARCHIVE]
    assert_loads_after_all(server, root)


def test_too_little_room_is_said_before_anything_is_asked_for(monkeypatch, server, root):
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 9 * 10**8, 10**8))
        with one_sentence("CIFAR-10 needs 360 MB", f"{root.parent} has 100 MB left", "free some disk space", "LABKIT_DATA_ROOT"):
            load(root)
    assert server.requests == []
    assert not root.exists()
    assert_loads_after_all(server, root)


def test_a_data_folder_that_cannot_be_made_is_named(server, root):
    root.write_text("a file in the way: stops even an administrator")
    with one_sentence(f"the data folder {root} cannot be written", "choose another one with LABKIT_DATA_ROOT"):
        load(root)
    assert root.read_text() == "a file in the way: stops even an administrator"


def test_a_folder_in_the_place_of_the_archive_is_named(root):
    (root / ARCHIVE).mkdir(parents=True)
    with one_sentence(f"cannot write {root / ARCHIVE}"):
        load(root)
    assert tree(root) == [ARCHIVE]


# --- archives that are whole and yet wrong -----------------------------------------------------


def climbing(outside):
    """Members that would be written outside, or let a later one be; `outside` is a folder beside the data folder."""
    return {
        "parent": [regular("../climbed")],
        "two up through the folder": [regular(f"{FOLDER}/../../climbed")],
        "absolute": [regular(f"{outside}/climbed")],
        "link to a parent": [special(f"{FOLDER}/link", tarfile.SYMTYPE, "../../.."), regular(f"{FOLDER}/link/climbed")],
        "link to an absolute folder": [special(f"{FOLDER}/link", tarfile.SYMTYPE, str(outside)), regular(f"{FOLDER}/link/climbed")],
        "hard link": [special(f"{FOLDER}/link", tarfile.LNKTYPE, "../../../outside/file")],
    }


@pytest.mark.parametrize("kind", climbing("."))
def test_an_archive_that_climbs_out_is_refused_and_writes_nothing(monkeypatch, server, root, tmp_path, tiny_cifar, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("stays")
    good = server.content
    publish(monkeypatch, server, pack(tiny_cifar, *climbing(outside)[kind]))
    with one_sentence(f"{root / ARCHIVE} was refused", "written outside its folder", "official address"):
        load(root)
    assert tree(tmp_path) == [f"data/{ARCHIVE}", "outside/file"]
    assert (outside / "file").stat().st_nlink == 1
    publish(monkeypatch, server, good)
    assert_loads_after_all(server, root)


def test_an_archive_with_a_device_is_refused(monkeypatch, server, root, tiny_cifar):
    publish(monkeypatch, server, pack(tiny_cifar, special(f"{FOLDER}/null", tarfile.CHRTYPE)))
    with one_sentence(f"{root / ARCHIVE} was refused"):
        load(root)
    assert tree(root) == [ARCHIVE]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda files: b"this is no archive", ["cannot be unpacked", "delete it"]),
        (lambda files: pack(files)[:-5_000], ["cannot be unpacked", "delete it"]),
        (lambda files: pack({}, regular("readme")), [f"holds no folder {FOLDER}", "delete it"]),
        (lambda files: pack({name: files[name] for name in BATCHES}), ["is whole but its content is not CIFAR-10", "delete it"]),
        (lambda files: pack(files | {"test_batch": b"other"}), ["is whole but its content is not CIFAR-10", "delete it"]),
    ],
    ids=["no archive", "cut before packing was done", "no folder", "a file missing", "other images"],
)
def test_an_archive_with_the_right_md5_and_the_wrong_content_is_named(monkeypatch, server, root, tiny_cifar, make, words):
    good = server.content
    publish(monkeypatch, server, make(tiny_cifar))
    for _ in range(2):  # what the first try left does not make the second succeed
        with one_sentence(str(root / ARCHIVE), *words):
            load(root)
    publish(monkeypatch, server, good)
    assert_loads_after_all(server, root)
