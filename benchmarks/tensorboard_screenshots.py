"""Screenshot of one TensorBoard tab in a headless browser, for the documentation.

    python benchmarks/tensorboard_screenshots.py LOGDIR timeseries|text|images OUTPUT.png [--width 1300] [--height 1000]

It needs Chromium and its driver (Debian: ``apt-get install chromium chromium-driver``).
"""

import argparse
import base64
import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOADING_SECONDS = 15
CLOSE_SETTINGS = """
document.querySelectorAll("button").forEach(each => { if (each.textContent.includes("Settings")) each.click(); });
"""


def free_port() -> int:
    """Return a port that no program listens on."""
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])


@contextlib.contextmanager
def serve(command: list[str], port: int, path: str) -> Iterator[str]:
    """Run a server while the block runs, and yield its address once it answers."""
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(60):
            time.sleep(1)
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(f"{address}{path}", timeout=10).close()
                break
        else:
            raise TimeoutError(f"{command[0]} does not answer at {address}{path}")
        yield address
    finally:
        process.terminate()
        process.wait()


def call(method: str, address: str, body: dict[str, Any] | None = None) -> Any:
    """Call a WebDriver command, and return its value."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)["value"]


def screenshot(driver: str, page: str, width: int, height: int) -> bytes:
    """Return a PNG of a page of TensorBoard, without its settings."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"]
    capabilities = {"alwaysMatch": {"goog:chromeOptions": {"args": flags}}}
    session = f"{driver}/session/{call('POST', f'{driver}/session', {'capabilities': capabilities})['sessionId']}"
    try:
        call("POST", f"{session}/url", {"url": page})
        time.sleep(LOADING_SECONDS)
        if page.endswith("#timeseries"):
            call("POST", f"{session}/execute/sync", {"script": CLOSE_SETTINGS, "args": []})
            time.sleep(LOADING_SECONDS / 3)
        return base64.b64decode(call("GET", f"{session}/screenshot"))
    finally:
        call("DELETE", session)


def main() -> None:
    """Start TensorBoard and the browser, and write the screenshot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logdir", type=Path)
    parser.add_argument("tab", choices=("timeseries", "text", "images"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--width", type=int, default=1300)
    parser.add_argument("--height", type=int, default=1000)
    options = parser.parse_args()
    ports = free_port(), free_port()
    tensorboard = [str(Path(sys.executable).parent / "tensorboard"), f"--logdir={options.logdir}", f"--port={ports[0]}"]
    with (
        serve(tensorboard, ports[0], "/data/environment") as board,
        serve(["chromedriver", f"--port={ports[1]}"], ports[1], "/status") as driver,
    ):
        page = f"{board}/#{options.tab}"
        options.output.write_bytes(screenshot(driver, page, options.width, options.height))


if __name__ == "__main__":
    main()
