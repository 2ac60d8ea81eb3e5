"""The service as a process: its address, its page in a browser, strangers at its door, and its end by a signal."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support import browser as browsers
from support import served

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
import uvicorn

from bind.bridge.bridge import Bridge
from bind.bridge.language_model import LanguageModel
from bind.report.label_colours import label_colours
from bind.search.index import Index
from bind.serve.app import create_app
from bind.serve.server import Server
from bind.serve.sockets import open_socket
from bind.timeline.segments import NONE
from bind.timeline.stream import Stream

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def service(*overrides):
    """A running service, its address, and the lines that it has printed since; it is killed if it has not ended."""
    command = [sys.executable, "-m", "bind", "serve", "port=0", *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("serving on "):
                break
        else:
            pytest.fail("".join(lines))
        reading = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
        reading.start()  # a pipe that is full would stop the service
        yield process, line.split()[2], lines
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    served.write_index(folder)
    return folder


@pytest.fixture(scope="module")
def running(folder):
    """A service in a process of its own, which takes its time to start: one for all tests."""
    with service(f"index={folder / 'index'}", "limits.max_bytes=300000", "limits.body_seconds=3") as running:
        yield running


MOVES = {"modalities": ["imu"], "templates": ["a person {}"], "classes": ["spinning", "resting", "bouncing"]}
CHOOSE = """
const choice = document.getElementById("modality");
choice.value = arguments[0];
choice.dispatchEvent(new Event("change"));
"""
MOVE = """
const rows = arguments[0], began = performance.now();
let place = 0;
const move = setInterval(() => {
  for (const due = (performance.now() - began) / 20; place < due && place < rows.length; place++) {
    const [x, y, z] = rows[place].map((value) => value * 9.80665);
    dispatchEvent(new DeviceMotionEvent("devicemotion", { accelerationIncludingGravity: { x, y, z } }));
  }
  if (place === rows.length) clearInterval(move);
}, 5);
"""
"""Moves the device as rows of acceleration in g say, 50 of them a second."""


def post(address, path, content, kind="application/json"):
    request = urllib.request.Request(address.rstrip("/") + path, content, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def raw(address, content, *, pause=0.0, seconds=10.0):
    """What a client gets that sends these bytes, one after the other where it pauses."""
    host, port = address.removeprefix("http://").strip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if pause:
                for byte in content:
                    connection.sendall(bytes([byte]))
                    time.sleep(pause)
            else:
                connection.sendall(content)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while chunk := connection.recv(65536):
                answer += chunk
        return answer


def resident_bytes(process):
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096


def test_malformed_requests_are_answered_and_memory_stays(running):
    process, address, _ = running
    rng = random.Random(0)
    seeds = [
        json.dumps({"items": [{"text": "a"}]}).encode(),
        json.dumps({"items": [{"modality": "audio", "file": {"data": served.b64(served.wav()[:400])}}]}).encode(),
        json.dumps({"query": {"text": "a"}, "where": "split = 'test'", "in": ["audio"]}).encode(),
        json.dumps({"texts": ["a"], "images": [served.b64(served.png()[:300])]}).encode(),
        b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\nRIFF\r\n--x--\r\n',
    ]
    kinds = ["application/json", "multipart/form-data; boundary=x", "text/plain", 'multipart/form-data; boundary="', ""]
    before = None
    for number in range(1000):
        content = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(0, 4)):
            at = rng.randrange(len(content))
            content[at : at + rng.randint(0, 5)] = rng.randbytes(rng.randint(0, 5))
        status, answer = post(
            address, rng.choice(["/embed", "/search", "/vectorize", "/embed?x=1"]), bytes(content), rng.choice(kinds)
        )
        assert status in (200, 400, 413, 422), (content, answer)
        assert status == 200 or answer["error"]
        if number == 200:
            before = resident_bytes(process)
    assert resident_bytes(process) - before < 60e6


def test_endless_bodies_slow_clients_and_nonsense_end(running):
    _, address, _ = running
    head = b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    endless = head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 20
    assert b" 413 " in raw(address, endless).split(b"\r\n")[0]
    slow = raw(address, head + b"Content-Length: 100\r\n\r\n" + b"{" * 20, pause=0.05)
    assert b" 408 " in slow.split(b"\r\n")[0]
    assert b'{"error"' in slow
    raw(address, random.Random(1).randbytes(2000), seconds=2.0)
    raw(address, b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n", seconds=2.0)
    assert post(address, "/embed", b'{"items": [{"text": "a"}]}')[0] == 200


@contextlib.contextmanager
def served_here(index, **options):
    """A service in a thread of this process, and its address."""
    opened = open_socket("127.0.0.1", 0)
    app = create_app(served.binder(), index, **options)
    server = Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([opened],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{opened.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def address(folder):
    with served_here(Index.open(folder / "index")) as address:
        yield address


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    driver = browsers.start(
        tmp_path_factory.mktemp("profile"),
        more=("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    )
    yield driver
    driver.quit()


def wait_for(driver, script, seconds=20.0):
    """What a script returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := driver.execute_script(f"return {script}"):
            return value
        time.sleep(0.05)
    pytest.fail(f"{script} did not come true; the page says {driver.execute_script('return document.body.innerText')}")


@pytest.mark.browser
def test_the_page_searches_by_words_files_and_a_recording(address, folder, chromium):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browsers.look_at(chromium, address)
    wait_for(chromium, "document.querySelectorAll('#modalities input').length === 4")
    words = chromium.switch_to.active_element  # the keyboard is where one writes
    words.send_keys("a red circle", Keys.ENTER)
    wait_for(chromium, "document.querySelectorAll('.hit').length === 10")
    wait_for(chromium, "document.querySelectorAll('.hit img, .hit svg.trace, .hit blockquote').length >= 10")
    assert "1. " in chromium.find_element(By.CSS_SELECTOR, ".hit .rank").text
    words.clear()
    chromium.find_element(By.ID, "file").send_keys(str(folder / "audio2.wav"))
    chromium.execute_script("document.querySelector('#modalities input[value=audio]').checked = true")
    chromium.find_element(By.ID, "go").click()
    wait_for(chromium, "document.querySelector('#chosen .length').textContent === '1.0 s'")
    play = chromium.find_element(By.CSS_SELECTOR, "#chosen button.sound")
    play.click()
    assert play.text == "■ stop"
    first = "document.querySelector('.hit .fact')?.textContent"
    wait_for(chromium, f"{first} === 'key audio2'")
    assert wait_for(chromium, "document.querySelectorAll('.hit').length") == 3
    chromium.find_element(By.CSS_SELECTOR, "#chosen [aria-label^=remove]").click()
    chromium.find_element(By.ID, "file").send_keys(str(folder / "imu1.csv"))
    chromium.execute_script("document.querySelector('#modalities input[value=audio]').checked = false")
    chromium.execute_script("document.querySelector('#modalities input[value=imu]').checked = true")
    chromium.find_element(By.ID, "go").click()
    wait_for(chromium, f"{first} === 'key imu1'")
    chromium.find_element(By.CSS_SELECTOR, "#chosen [aria-label^=remove]").click()
    record = chromium.find_element(By.ID, "record")
    record.click()
    wait_for(chromium, "document.querySelector('#record.on') !== null")
    time.sleep(1.5)
    record.click()
    wait_for(chromium, "document.querySelectorAll('#chosen button.sound').length === 1")
    chromium.find_element(By.ID, "go").click()
    wait_for(chromium, "document.getElementById('state').textContent.startsWith('The best 3 of 3')")
    where = chromium.find_element(By.ID, "where")
    chromium.execute_script("document.querySelector('details').open = true")
    where.send_keys("split = 'val'", Keys.ENTER)
    wait_for(chromium, "document.querySelectorAll('.hit').length === 1")
    where.clear()
    where.send_keys("nonsense", Keys.ENTER)
    assert "where=" in wait_for(chromium, "document.querySelector('#state.wrong')?.textContent")
    severe = [entry for entry in chromium.get_log("browser") if "422" not in entry["message"]]
    assert severe == []


@pytest.mark.browser
def test_the_page_fits_a_phone_and_the_dark(address, chromium):
    for width, dark in ((360, False), (360, True), (1200, True)):
        browsers.look_at(chromium, address, width=width, dark=dark)
        wait_for(chromium, "document.querySelectorAll('#modalities input').length === 4")
        chromium.execute_script("document.getElementById('words').value = 'a'; document.getElementById('go').click()")
        wait_for(chromium, "document.querySelectorAll('.hit img, .hit svg.trace, .hit blockquote').length >= 10")
        assert chromium.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        colours = chromium.execute_script(
            "const of = (e, name) => getComputedStyle(e)[name].match(/\\d+/g).slice(0, 3).map(Number);"
            "return [of(document.querySelector('.fact'), 'color'), of(document.body, 'backgroundColor')]"
        )
        assert browsers.contrast(*map(tuple, colours)) > 4.5


@pytest.mark.browser
def test_the_page_says_what_things_are_and_answers_where_a_bridge_is_loaded(address, folder, chromium):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browsers.look_at(chromium, address)
    wait_for(chromium, "document.querySelectorAll('#modalities input').length === 4")
    assert not chromium.find_element(By.ID, "caption").is_displayed()
    bridge = Bridge(served.binder(), LanguageModel.load("toy"))
    with served_here(None, bridge=bridge) as with_bridge:
        browsers.look_at(chromium, with_bridge)
        wait_for(chromium, "!document.getElementById('caption').hidden")
        assert not chromium.find_element(By.ID, "go").is_displayed(), "there is nothing to search"
        assert not chromium.find_element(By.ID, "searched").is_displayed()
        assert (chromium.title, chromium.find_element(By.ID, "title").text) == (
            "bind: say what it is",
            "Say what it is",
        )
        assert chromium.switch_to.active_element.get_attribute("id") == "choose", "a file comes first"
        chromium.find_element(By.ID, "words").send_keys("What shape is it?")
        chromium.find_element(By.ID, "answer").click()
        wait_for(chromium, "document.querySelector('#state.wrong')?.textContent.includes('choose what it is about')")
        chromium.find_element(By.ID, "file").send_keys(str(folder / "audio2.wav"))
        chromium.find_element(By.ID, "words").send_keys(Keys.ENTER)
        answer = bridge.ask("What shape is it?", audio=folder / "audio2.wav") or "(nothing)"
        assert wait_for(chromium, "document.querySelector('#said li')?.textContent") == f"What shape is it? {answer}"
        chromium.find_element(By.ID, "words").clear()
        chromium.find_element(By.ID, "caption").click()
        wait_for(chromium, "document.querySelector('#said li')?.textContent.startsWith('audio2.wav: ')")
        browsers.look_at(chromium, with_bridge, width=360)
        wait_for(chromium, "!document.getElementById('caption').hidden")
        assert chromium.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    with served_here(None) as without:
        browsers.look_at(chromium, without)
        wait_for(chromium, "document.getElementById('about').textContent.includes('with bridge=BRIDGE')")
        assert not chromium.find_element(By.ID, "ask").is_displayed(), "nothing that would not work"
        assert chromium.find_element(By.ID, "docs").is_displayed()


@pytest.mark.browser
def test_a_name_in_the_index_is_text_on_the_page(tmp_path, chromium):
    index = served.write_index(tmp_path)
    nasty = "<img src=x onerror=\"document.title='owned'\">"
    index.add("text", served.binder().embed("text", ["zzz"]), {"key": [nasty], "caption": [nasty], "label": [nasty]})
    with served_here(index, token="open-sesame") as address:
        browsers.look_at(chromium, address + "#token=open-sesame")
        wait_for(chromium, "document.querySelectorAll('#modalities input').length === 4")
        chromium.execute_script("document.getElementById('words').value = 'zzz'; document.getElementById('go').click()")
        wait_for(chromium, "document.querySelectorAll('.hit blockquote').length >= 2")
        assert nasty in chromium.execute_script("return document.body.innerText")
        assert chromium.title == "bind: search"
        browsers.look_at(chromium, "about:blank")
        browsers.look_at(chromium, address + "#token=other")
        assert "token" in wait_for(chromium, "document.querySelector('#state.wrong')?.textContent")


@pytest.mark.browser
def test_the_live_page_shows_what_is_sensed_and_heard(chromium):
    with served_here(None, token="open-sesame", label_sets={"moves": MOVES}) as address:
        for dark in (False, True):
            browsers.look_at(chromium, address + "live#token=open-sesame", width=360, dark=dark)
            wait_for(chromium, "!document.getElementById('go').disabled")
            assert chromium.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        chromium.execute_script(CHOOSE, "imu")
        assert not chromium.find_element("id", "line").is_displayed()
        chromium.execute_script(MOVE + "document.getElementById('go').click()", served.motion(num_rows=6000).tolist())
        first = "document.querySelector('#segments li')?.textContent"
        assert "0:00.0 to " in wait_for(chromium, first)
        assert chromium.find_element("id", "line").is_displayed()
        mark = chromium.execute_script("return document.querySelector('#segments .mark').style.backgroundColor")
        hexadecimal = "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", mark))
        assert hexadecimal in label_colours(MOVES["classes"], NONE).values(), "as on the page of a time line"
        assert chromium.execute_script("return document.getElementById('now').textContent") in MOVES["classes"]
        chromium.execute_script("document.getElementById('go').click()")
        wait_for(chromium, "document.getElementById('state').textContent === 'Ended.'")
        chromium.execute_script(CHOOSE + "document.getElementById('phrases').value = 'a beep\\nsilence'", "audio")
        chromium.find_element("id", "go").click()  # browsers let a page hear only what a person began
        wait_for(chromium, "document.getElementById('state').textContent.startsWith('Listening at ')")
        wait_for(chromium, "/a beep|silence/.test(document.getElementById('now').textContent)")
        chromium.execute_script("document.getElementById('go').click()")
        wait_for(chromium, "document.getElementById('state').textContent === 'Ended.'")
        assert chromium.get_log("browser") == []


@pytest.mark.browser
def test_the_page_of_the_api_says_what_a_request_holds_and_no_page_asks_another_host(address, chromium):
    for path, ready in [
        ("", "document.querySelectorAll('#modalities input').length === 4"),
        ("live", "!document.getElementById('go').disabled"),
        ("docs", "document.querySelectorAll('details').length > 8"),
    ]:
        browsers.look_at(chromium, address + path, width=360)
        wait_for(chromium, ready)
        chromium.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        assert chromium.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        loaded = chromium.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert len(loaded) >= 4
        assert [name for name in loaded if not name.startswith((address, "data:"))] == []
        assert chromium.get_log("browser") == []
    text = chromium.execute_script("return document.body.innerText")
    for said in (
        "POST /embed",
        "items a list of",
        "required",
        "its bytes as base64",
        "GET /media",
        "modality text, required",
    ):
        assert said in text


def test_a_program_gets_the_segments_of_a_stream_and_sees_the_service_end():
    sync = pytest.importorskip("websockets.sync.client")
    values, labels = served.motion(num_rows=400).astype("<f4"), list(MOVES["classes"])
    expected = Stream(served.binder(), "imu", labels=labels)
    expected.push(values)
    segments = []
    with contextlib.ExitStack() as clients, served_here(None) as address:
        place = address.replace("http", "ws") + "live/stream"
        with sync.connect(place) as socket:
            socket.send(json.dumps({"modality": "imu", "labels": labels}))
            socket.recv()
            for first in range(0, len(values), 90):
                socket.send(values[first : first + 90].tobytes())
                answer = json.loads(socket.recv())
                segments[answer["from"] :] = answer["segments"]
            socket.send("finish")
            answer = json.loads(socket.recv())
            segments[answer["from"] :] = answer["segments"]
        staying = clients.enter_context(sync.connect(place))
        staying.send(json.dumps({"modality": "imu", "labels": labels}))
        staying.recv()
        began_to_end = time.monotonic()
    assert time.monotonic() - began_to_end < 20  # it did not wait for who stayed
    assert segments == [[s.start_seconds, s.end_seconds, s.label, round(s.confidence, 4)] for s in expected.finish()]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_minutes_of_32_clients_do_not_grow_the_memory(running):
    process, address, _ = running
    until, sizes, statuses = time.monotonic() + 600, [], []

    def ask(seed):
        rng = random.Random(seed)
        while time.monotonic() < until:
            body = {"modality": "audio", "file": {"data": served.b64(served.wav(rng.randrange(100)))}}
            statuses.append(
                post(address, "/embed", json.dumps({"items": [body, {"text": str(rng.random())}]}).encode())[0]
            )

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        time.sleep(10)
        sizes.append(resident_bytes(process))
    for thread in threads:
        thread.join()
    print(f"{statuses.count(200)} answers; resident MB:", *(round(size / 1e6) for size in sizes))
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) > 1000
    assert max(sizes[-6:]) - max(sizes[6:12]) < 30e6


def test_sigterm_answers_what_is_being_served_and_ends_without_an_error(running):
    """The last one: it ends the service of the others."""
    process, address, lines = running
    answers = []
    items = {"items": [{"modality": "audio", "file": {"data": served.b64(served.wav(n))}} for n in range(12)]}
    asking = threading.Thread(target=lambda: answers.append(post(address, "/embed", json.dumps(items).encode())))
    asking.start()
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    asking.join(30)
    try:
        assert process.wait(60) == 0
    except subprocess.TimeoutExpired:
        pytest.fail("".join(lines[-100:]))
    assert answers
    assert answers[0][0] == 200
    assert "all requests are answered\n" in lines
