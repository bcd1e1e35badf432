"""Every ``Decoder`` is held to this: a bad file is a reason, and the next file is read all the same."""

from __future__ import annotations

import io
import os
import re
import signal
import struct
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from fractureai.errors import BrokenDeployment, RejectedInput, TransientFailure
from fractureai.imaging import process
from fractureai.imaging.decoder import ChildDecoder
from fractureai.imaging.limits import DecodeLimits

GOOD = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))


@pytest.fixture(scope="module")
def shared_decoder():
    with ChildDecoder() as decoder:
        yield decoder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.png"
    Image.fromarray(GOOD).save(path)
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A picture that takes tens of milliseconds and megabytes to decode."""
    path = tmp_path / "large.png"
    Image.fromarray(np.tile(np.arange(0, 60_000, 10, dtype=np.uint16), (6000, 1))).save(path, compress_level=1)
    return path


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def flood() -> bytes:
    small = encoded(Image.fromarray(GOOD), "PNG")
    # The extent in the header only; its checksum is then wrong, which must not matter before the size does.
    header = b"IHDR" + struct.pack(">II", 20_000, 20_000) + small[24:29]
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


def bad_files() -> dict[str, tuple[bytes, str]]:
    noise = np.random.default_rng(2).integers(0, 255, (200, 200), dtype=np.uint8)
    frames = [Image.fromarray(GOOD), Image.fromarray(GOOD[::-1, ::-1].copy())]
    return {
        "empty": (b"", "empty_file"),
        "truncated JPEG": (encoded(Image.fromarray(noise), "JPEG")[:3000], "damaged"),
        "text renamed": (b"this is not a picture\n" * 20, "unknown_type"),
        "1 x 1": (encoded(Image.new("L", (1, 1)), "PNG"), "too_small"),
        "20,000 x 20,000": (flood(), "too_many_pixels"),
        "CMYK JPEG": (encoded(Image.fromarray(GOOD).convert("CMYK"), "JPEG"), "colour_image"),
        "animated GIF": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "unknown_type"),
        "animated PNG": (encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]), "multi_frame"),
        "DICOM of nothing": (bytes(128) + b"DICM", "damaged"),
        "a ZIP": (b"PK\x03\x04" + bytes(40), "unknown_type"),
    }


@pytest.mark.parametrize("name", bad_files())
def test_a_bad_file_costs_itself_only(shared_decoder, tmp_path, good, name):
    data, code = bad_files()[name]
    path = tmp_path / "sent.png"
    path.write_bytes(data)
    before = shared_decoder.decode(good).pixels
    with pytest.raises(RejectedInput) as caught:
        shared_decoder.decode(path)
    assert caught.value.code == code
    np.testing.assert_array_equal(shared_decoder.decode(good).pixels, before)
    named = shared_decoder.identify(path)
    assert named is None or named.study_instance_uid.startswith("1.2.826.")


def test_pixels_and_header_come_through_whole(shared_decoder, good):
    image = shared_decoder.decode(good)
    np.testing.assert_array_equal(image.pixels, GOOD)
    assert image.pixels.flags.writeable
    assert (image.source_height_px, image.source_width_px) == GOOD.shape
    assert image.header.media_type == "image/png"
    assert image.pixel_spacing_mm is None


def test_sixteen_bit_pictures_are_read(shared_decoder, large):
    image = shared_decoder.decode(large)
    assert image.pixels.shape == (1024, 1024)
    assert image.pixels[0, 0] == 0
    assert image.pixels[0, -1] > 200


def test_relative_and_odd_paths(shared_decoder, good, monkeypatch):
    odd = os.fsdecode(b'odd \xff "\n name')
    (good.parent / odd).write_bytes(good.read_bytes())
    monkeypatch.chdir(good.parent)
    assert shared_decoder.decode(Path(odd)).pixels.shape == GOOD.shape


def test_a_missing_file_is_not_the_senders_fault(shared_decoder, tmp_path):
    with pytest.raises(FileNotFoundError):
        shared_decoder.decode(tmp_path / "none")


def test_too_many_bytes(good):
    with ChildDecoder(DecodeLimits(max_bytes=100)) as decoder:
        with pytest.raises(RejectedInput, match="too_many_bytes"):
            decoder.decode(good)
        assert decoder.child_pid is None


def test_one_child_stays_warm_and_is_replaced_after_so_many_files(good):
    with ChildDecoder(DecodeLimits(files_per_child=3)) as decoder:
        assert decoder.child_pid is None
        pids = []
        for _ in range(7):
            decoder.decode(good)
            pids.append(decoder.child_pid)
        assert pids[0] == pids[1] != pids[3] == pids[4]
        assert pids[2] is pids[5] is None


def test_a_killed_child_is_replaced_unnoticed(good):
    with ChildDecoder() as decoder:
        decoder.decode(good)
        first = decoder.child_pid
        os.kill(first, signal.SIGKILL)
        np.testing.assert_array_equal(decoder.decode(good).pixels, GOOD)
        assert decoder.child_pid != first
        assert not psutil.pid_exists(first)


def test_a_child_killed_at_work_is_asked_again(good):
    with ChildDecoder() as decoder:
        decoder.decode(good)
        first = decoder.child_pid
        os.kill(first, signal.SIGSTOP)  # It cannot answer until it is gone.
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(decoder.decode, good)
            while not decoder._lock.locked():
                time.sleep(0.001)
            os.kill(first, signal.SIGKILL)
            assert answer.result(30).pixels.shape == GOOD.shape


def test_a_hanging_child_is_killed(good):
    with ChildDecoder() as decoder:
        decoder.decode(good)
        decoder.limits = DecodeLimits(timeout_s=0.3)
        hanging = decoder.child_pid
        os.kill(hanging, signal.SIGSTOP)
        with pytest.raises(RejectedInput, match="decoder_timeout"):
            decoder.decode(good)
        assert not psutil.pid_exists(hanging)
    with ChildDecoder() as decoder:
        assert decoder.decode(good).pixels.shape == GOOD.shape


def test_a_file_that_takes_too_long(large):
    with ChildDecoder(DecodeLimits(timeout_s=0.002)) as decoder, pytest.raises(RejectedInput, match="decoder_timeout"):
        decoder.decode(large)


def test_a_file_that_takes_too_much_memory(good, large):
    with ChildDecoder() as roomy:
        roomy.decode(good)
        status = Path(f"/proc/{roomy.child_pid}/status").read_text()
    peak_kib = int(re.search(r"VmPeak:\s+(\d+)", status).group(1))
    # Room for the child and a small picture, not for 36 megapixels of 16 bits.
    with ChildDecoder(DecodeLimits(memory_bytes=(peak_kib + 60 * 1024) * 1024)) as decoder:
        assert decoder.decode(good).pixels.shape == GOOD.shape
        with pytest.raises(RejectedInput, match="decoder_memory"):
            decoder.decode(large)
        assert decoder.decode(good).pixels.shape == GOOD.shape


def test_memory_too_low_for_the_child_itself(good):
    limits = DecodeLimits(memory_bytes=1024 * 1024)
    with ChildDecoder(limits) as decoder, pytest.raises((BrokenDeployment, TransientFailure, RejectedInput)):
        decoder.decode(good)


READY = "import sys, time; out = sys.stdout.buffer; out.write(b'\\0\\0\\0\\2{}'); out.flush(); sys.stdin.readline(); "


@pytest.mark.parametrize(
    "script",
    [
        "import os; os._exit(1)",
        "import os; os.kill(os.getpid(), 11)",
        "out.write(b'\\xff' * 100); out.flush(); time.sleep(60)",
        "out.write(b'\\0\\0\\0\\4nope'); out.flush(); time.sleep(60)",
        "out.write(b'\\0\\0\\0\\2[]'); out.flush(); time.sleep(60)",
        "t = b'{\"shape\": [99999, 99999]}'; out.write(bytes([0, 0, 0, len(t)]) + t); out.flush(); time.sleep(60)",
        "t = b'{\"shape\": [-5, -5]}'; out.write(bytes([0, 0, 0, len(t)]) + t); out.flush(); time.sleep(60)",
        "out.write(b'\\0\\0\\0\\2{}'); out.flush(); time.sleep(60)",
        "t = b'{\"shape\": [1e999, 9]}'; out.write(bytes([0, 0, 0, len(t)]) + t); out.flush(); time.sleep(60)",
        "t = b'[' * 50000; out.write(bytes([0, 0, 195, 80]) + t); out.flush(); time.sleep(60)",
        "t = b'{\"rejected\": [1]}'; out.write(bytes([0, 0, 0, len(t)]) + t); out.flush(); time.sleep(60)",
        "t = b'{\"shape\": [9, 9]}'; out.write(bytes([0, 0, 0, len(t)]) + t + b'few'); out.flush()",
    ],
)
def test_a_child_that_crashes_or_was_taken_over(good, monkeypatch, script):
    monkeypatch.setattr(process, "_command", lambda limits: [sys.executable, "-S", "-c", READY + script])
    with ChildDecoder(DecodeLimits(timeout_s=10)) as decoder, pytest.raises(RejectedInput, match="decoder_crashed"):
        decoder.decode(good)


def test_a_child_that_does_not_start(good, monkeypatch):
    monkeypatch.setattr(process, "_command", lambda limits: [sys.executable, "-S", "-c", "raise SystemExit(3)"])
    with ChildDecoder() as decoder, pytest.raises(BrokenDeployment, match="exit status 3"):
        decoder.decode(good)


def test_many_threads_share_one_child(shared_decoder, tmp_path):
    paths = []
    for number in range(24):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.roll(GOOD, number, axis=1)).save(path)
        paths.append(path)
    with ThreadPoolExecutor(6) as pool:
        for number, image in enumerate(pool.map(shared_decoder.decode, paths)):
            np.testing.assert_array_equal(image.pixels, np.roll(GOOD, number, axis=1))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_starts_its_own_child_and_leaves_the_parents_alone(good):
    with ChildDecoder() as decoder:
        decoder.decode(good)
        first = decoder.child_pid
        reading, writing = os.pipe()
        held = threading.Event()
        done = threading.Event()

        def hold() -> None:
            with decoder._lock:
                held.set()
                done.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(10)
        forked = os.fork()
        if forked == 0:
            try:
                decoder.decode(good)
                os.write(writing, str(decoder.child_pid).encode())
                decoder.close()
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(forked, 0)
        done.set()
        thread.join()
        other = os.read(reading, 100)
        os.close(reading)
        assert int(other) != first
        decoder.decode(good)
        assert decoder.child_pid == first


def test_the_child_is_confined_and_knows_no_secrets(good, monkeypatch):
    monkeypatch.setenv("FRACTUREAI_STORE__SECRET_KEY", "hush")
    with ChildDecoder() as decoder:
        decoder.decode(good)
        child = psutil.Process(decoder.child_pid)
        assert not any("hush" in value for value in child.environ().values())
        assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert child.rlimit(psutil.RLIMIT_AS)[1] == decoder.limits.memory_bytes
        assert child.rlimit(psutil.RLIMIT_NOFILE)[1] <= 64
        assert child.rlimit(psutil.RLIMIT_NPROC) == (0, 0)
        assert "NoNewPrivs:\t1" in Path(f"/proc/{child.pid}/status").read_text()
        assert child.num_threads() == 1
        assert child.memory_info().rss < 90 * 1024 * 1024


def test_the_child_ends_with_its_pipe(good):
    decoder = ChildDecoder()
    decoder.decode(good)
    child = psutil.Process(decoder.child_pid)
    decoder._child._process.stdin.close()
    child.wait(10)
    decoder.close()


def test_close_ends_the_child_and_a_later_file_starts_another(good):
    decoder = ChildDecoder()
    decoder.decode(good)
    first = decoder.child_pid
    decoder.close()
    decoder.close()
    assert not psutil.pid_exists(first)
    decoder.decode(good)
    decoder.close()
