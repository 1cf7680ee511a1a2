# What the tests of the real server share: a tiny random model, and a server process around it.
# Only Python's own library.
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORDS = ("the river runs under a stone bridge and seven grey geese cross water every night while "
         "old bell rings slowly 门前 大桥下 游过 一群鸭 2024 3.14 don't naïve café winter").split()


def run(*arguments):
    environment = dict(os.environ, UM_CONFIGS=os.path.join(ROOT, "configs"))
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: {done.stderr}")


def make_model(program, directory, context=2048):
    """A random model with a tokenizer of 420 tokens, and no digests: tests change its files."""
    drawn = random.Random(7)
    corpus = os.path.join(directory, "corpus.txt")
    with open(corpus, "w", encoding="utf-8") as file:
        for _ in range(600):
            file.write(" ".join(drawn.choices(WORDS, k=drawn.randrange(4, 16))) + '. {"a": [1], "b": "c"}\n')
    run(program, "tokenizer", "train", "--input", corpus, "--vocab-size", "420", "--out", os.path.join(directory, "tokenizer"))
    preset = os.path.join(directory, "preset")
    os.makedirs(preset)
    with open(os.path.join(ROOT, "configs", "nano-ultra", "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config["max_position_embeddings"] = context
    with open(os.path.join(preset, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    model = os.path.join(directory, "tiny-model")
    run(program, "init", "--preset", preset, "--out", model, "--tokenizer", os.path.join(directory, "tokenizer"), "--seed", "3")
    os.remove(os.path.join(model, "digests.json"))
    return model


class Workplace:
    """A directory with a model, removed at the end."""

    def __init__(self, program):
        self.program = program
        self.directory = tempfile.mkdtemp(prefix="um_server_")
        self.model = make_model(program, self.directory)
        with open(program, "rb") as file:  # a sanitizer keeps freed memory for long
            self.sanitized = re.search(rb"__[at]san_init", file.read()) is not None

    def path(self, name):
        return os.path.join(self.directory, name)

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class Server:
    """`ultramoe serve` on a free port."""

    def __init__(self, work, *flags, wait=True):
        self.log = work.path(f"log-{time.monotonic_ns()}.txt")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([work.program, "serve", work.model, "--port", "0", "--threads", "1", *flags],
                                            stderr=log, stdout=subprocess.DEVNULL)
        self.url = self.find(r"listening on (\S+);")
        self.host, self.port = re.match(r"https?://\[?(.*?)\]?:(\d+)$", self.url).groups()
        self.port = int(self.port)
        if wait:
            self.find(r"ready: ")

    def text(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read()

    def find(self, pattern, seconds=90):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(pattern, self.text())
            if found:
                return found.group(found.re.groups)
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.text()}")
            time.sleep(0.02)
        raise AssertionError(f"no {pattern!r} in {self.text()!r}")

    def connect(self, timeout=60):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def socket(self, timeout=30):
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body); the body parsed if it is JSON."""
        connection = self.connect()
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if text and (response.getheader("Content-Type") or "").startswith("application/json"):
            return response.status, response.headers, json.loads(text)
        return response.status, response.headers, text.decode()

    def post(self, path, **body):
        status, _, answer = self.request("POST", path, body)
        return status, answer

    def metric(self, name):
        text = self.request("GET", "/metrics")[2]
        return sum(float(m) for m in re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def idle(self, seconds=60):
        """Waits until nothing runs."""
        end = time.monotonic() + seconds
        while self.metric("vllm:num_requests_running") + self.metric("vllm:num_requests_waiting") > 0:
            assert time.monotonic() < end, "requests still run"
            time.sleep(0.05)

    def terminate(self, seconds=60):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
            if code != 0:
                print(self.text())
            return code
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the server does not end: {self.text()}") from None


def events(response):
    """The data of server-sent events; comments are skipped."""
    for line in response:
        line = line.decode().rstrip("\n")
        if line.startswith("data: "):
            yield line[6:]


class ClientCase(unittest.TestCase):
    """A test of a client library against a server with the key "secret"."""

    @classmethod
    def setUpClass(cls):
        cls.work = Workplace(program_or_skip())
        cls.server = Server(cls.work, "--api-key", "secret")
        cls.base_url = cls.server.url + "/v1"

    @classmethod
    def tearDownClass(cls):
        code = cls.server.terminate()
        cls.work.close()
        assert code == 0


# What clients are tried with: a random model has to be held to what it says.
WEATHER = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}, "cold": {"type": "boolean"}},
           "required": ["city", "cold"], "additionalProperties": False}


def run_client():
    """Runs the tests of the file that is the program: CLIENT_test.py ULTRAMOE [TEST…]."""
    unittest.main(module="__main__", argv=sys.argv[:1] + sys.argv[2:], verbosity=2)


def program_or_skip():
    program = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build", "ultramoe")
    if not os.path.exists(program):
        print(f"SKIPPED: {program} is not built")
        sys.exit(77)
    return os.path.abspath(program)
