"""Runs every Python snippet of docs/src/python.md, each in a process of its own, in their order.

    python xtask/golden/python_page.py target/release/hyperalign

In a folder of its own it bakes the LoRA and starts the two servers that the page speaks of.
"""

import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BAKE = ["lora", "bake", "--base", "emoji-sd", "--adapter", "emoji-sd-s"]
BAKE += ["--prompt", "a red heart", "--out", "heart.safetensors"]
SERVERS = {
    7860: ["serve", "--base", "emoji-sd"],
    18085: ["serve-rewards", "--reward", "emoji-proxy", "--reward", "gold"],
}


def wait_for(port: int, server: subprocess.Popen) -> None:
    for _ in range(600):
        if server.poll() is not None:
            sys.exit(f"the server of port {port} ended with status {server.returncode}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    sys.exit(f"nobody answers at port {port}")


def main() -> None:
    program = Path(sys.argv[1]).resolve()
    page = (ROOT / "docs/src/python.md").read_text()
    snippets = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "assets").symlink_to(ROOT / "assets")
        subprocess.run([program, *BAKE], cwd=folder, check=True)
        servers = {
            port: subprocess.Popen([program, *arguments, "--port", str(port)], cwd=folder)
            for port, arguments in SERVERS.items()
        }
        try:
            for port, server in servers.items():
                wait_for(port, server)
            for number, snippet in enumerate(snippets, 1):
                subprocess.run([sys.executable, "-c", snippet], cwd=folder, check=True)
                print(f"snippet {number} of {len(snippets)}: as the page says")
        finally:
            for server in servers.values():
                server.terminate()
                server.wait()


if __name__ == "__main__":
    main()
