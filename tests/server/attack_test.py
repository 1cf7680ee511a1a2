# What a hostile client or page tries, against the real program: each try is bounded, is answered or ended, and takes nothing away
# from others. Usage: attack_test.py [ULTRAMOE]; exit code 77: skipped.
import json
import subprocess
import sys
import time
import unittest

from harness import Server, Workplace, program_or_skip

PROGRAM = program_or_skip()
WORK = None
SERVER = None
CHAT = "/v1/chat/completions"


def setUpModule():
    global WORK, SERVER
    WORK = Workplace(PROGRAM)
    SERVER = Server(WORK, "--allowed-host", "model.example", "--allowed-host", "other.example", "--read-timeout", "20")


def tearDownModule():
    SERVER.terminate()
    WORK.close()


def raw(data, server=None):
    """All that the server sends until it ends the connection."""
    with (server or SERVER).socket(20) as connection:
        answer = b""
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                answer += part
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
        return answer


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


def post(fields=b"", body=b'{"prompt": "the", "max_tokens": 1}'):
    return b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n" + body


class Unfinished(unittest.TestCase):
    @staticmethod
    def settled(server):
        """The resident bytes once they stay: all that was sent has been read."""
        had = -1
        while (now := server.resident_bytes()) != had:
            had = now
            time.sleep(0.5)
        return now

    def test_what_is_kept_of_requests_that_never_end_is_bounded(self):
        for framing, begin in ((b"Content-Length: 8000000\r\n", b""), (b"Transfer-Encoding: chunked\r\n", b"7a1200\r\n")):
            with self.subTest(framing):
                self.check_bound(framing, begin)

    def check_bound(self, framing, begin):
        server = Server(WORK, "--read-timeout", "60")
        try:
            self.assertEqual(status(raw(post(b"Content-Length: 34\r\n"), server)), 200)
            before = server.resident_bytes()
            held = []
            for _ in range(60):
                connection = server.socket(20)
                held.append(connection)
                connection.sendall(post(framing, begin))
                try:
                    connection.sendall(b" " * 3_000_000)
                except OSError:
                    pass  # refused
            grown = self.settled(server) - before
            self.assertEqual(status(raw(post(b"Content-Length: 34\r\n"), server)), 200)
            for connection in held:
                connection.close()
            kept = self.settled(server) - before
            if not WORK.sanitized:
                self.assertLess(grown, 100 << 20, "180 MB were sent")
                self.assertLess(kept, 20 << 20, "nothing is there any more")
        finally:
            self.assertEqual(server.terminate(), 0)


class Smuggling(unittest.TestCase):
    """Requests that two readers could understand differently."""

    def test_framing(self):
        length, chunked = b"Content-Length: 34\r\n", b"Transfer-Encoding: chunked\r\n"
        self.assertEqual(status(raw(post(length))), 200)
        for fields in (length + length, length + b"Content-Length: 5\r\n", b"Content-Length: 34, 34\r\n", b"Content-Length: +34\r\n",
                       b"Content-Length: 0x22\r\n", b"Content-Length: 34 \x0b\r\n", length + chunked, chunked + chunked,
                       b"Transfer-Encoding: x\r\n", b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding:\r\n chunked\r\n",
                       length + b"Host: localhost\r\n", length + b"Host: other\r\n", length + b"X: a\r\n b\r\n",
                       length + b"X: a\x00b\r\n", length + b"X: a\nY: b\r\n", length + b"Bad Name: x\r\n"):
            self.assertEqual(status(raw(post(fields))), 400, fields)
        self.assertEqual(status(raw(post(b"Transfer-Encoding: gzip, chunked\r\n"))), 501)
        self.assertEqual(status(raw(post(b"Content-Encoding: br\r\n" + length))), 415)
        self.assertEqual(status(raw(post(b"Expect: magic\r\n" + length))), 417)

    def test_chunks(self):
        chunked = b"Transfer-Encoding: chunked\r\n"
        good = b'22\r\n{"prompt": "the", "max_tokens": 1}\r\n'
        self.assertEqual(status(raw(post(chunked, good + b"0\r\n\r\n"))), 200)
        self.assertEqual(status(raw(post(chunked, good + b"0\r\nTrailer: x\r\n\r\n"))), 200)
        for bad in (b"zz\r\n", b"-1\r\n", b"0x22\r\n\r\n", b"1\r\nab\r\n0\r\n", b"1\na\r\n", good + b"zz\r\n", good + b"-5\r\n", good.replace(b"22", b"21", 1) + b"0\r\n"):
            self.assertEqual(status(raw(post(chunked, bad))), 400, bad)
        self.assertEqual(status(raw(post(chunked, b"FFFFFFFF\r\n"))), 413)

    def test_first_lines(self):
        for first, expected in ((b"GET /health HTTP/1.1", 200), (b"HEAD /health HTTP/1.1", 200), (b"GET /health HTTP/1.0", 200),
                                (b"GET http://localhost/health HTTP/1.1", 200), (b"OPTIONS * HTTP/1.1", 204), (b"OPTIONS /health HTTP/1.1", 204),
                                (b"GET http://evil.example/health HTTP/1.1", 403), (b"PUT /health HTTP/1.1", 405), (b"POST /health HTTP/1.1", 405),
                                (b"DELETE /v1/models HTTP/1.1", 405), (b"TRACE / HTTP/1.1", 501), (b"CONNECT localhost:1 HTTP/1.1", 501),
                                (b"GET /health HTTP/2.0", 505), (b"GET /health HTTP/1.1 x", 400), (b"GET health HTTP/1.1", 400),
                                (b"GET /%00 HTTP/1.1", 400), (b"GET /v1%2fmodels HTTP/1.1", 400), (b"GET /" + b"x" * 20000 + b" HTTP/1.1", 414)):
            answer = raw(first + b"\r\nHost: localhost\r\n\r\n")
            self.assertEqual(status(answer), expected, first[:80])
            if first.startswith(b"HEAD"):
                self.assertTrue(answer.endswith(b"\r\n\r\n"))
            if expected == 405:
                self.assertIn(b"\r\nAllow: ", answer)
        self.assertEqual(status(raw(b"GET /health HTTP/1.1\r\n\r\n")), 400)

    def test_what_is_no_http(self):
        for junk in (b"NONSENSE\r\n\r\n", b"\x16\x03\x01 TLS?\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n", b"GET / HTTP/1.1\n\n"):
            self.assertEqual(status(raw(junk)), 400, junk)
        for head in (b"X: " + b"y" * 20000, b"X: y\r\n" * 5000):
            self.assertEqual(status(raw(b"GET /health HTTP/1.1\r\n" + head + b"\r\n\r\n")), 431)

    def test_refusals_are_in_the_form_of_the_clients_api(self):
        head = b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n"
        for path, fields, messages in ((b"/v1/messages", b"", True), (b"/v1/models", b"Anthropic-Version: 2023-06-01\r\n", True), (b"/v1/completions", b"", False)):
            answer = raw(b"POST " + path + head + fields + b"\r\n")
            self.assertEqual(status(answer), 413)
            body = json.loads(answer.split(b"\r\n\r\n", 1)[1])
            if messages:
                self.assertEqual((body["type"], sorted(body["error"]), body["error"]["type"]), ("error", ["message", "type"], "request_too_large"))
            else:
                self.assertEqual((sorted(body), body["error"]["type"]), (["error"], "invalid_request_error"))

    def test_only_one_request_is_answered(self):
        one = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
        self.assertEqual(raw(one + one).count(b"HTTP/1.1 "), 1)

    def test_ranges_are_not_offered(self):
        for ranges in (b"bytes=0-3", b"bytes=9-1", b"bytes=" + b"0-1," * 500 + b"0-2"):
            answer = raw(b"GET /version HTTP/1.1\r\nHost: localhost\r\nRange: " + ranges + b"\r\n\r\n")
            self.assertEqual(status(answer), 200)
            json.loads(answer.split(b"\r\n\r\n", 1)[1])


class Names(unittest.TestCase):
    """DNS rebinding: a page whose own name points at this machine."""

    def ask(self, host, path="/version", server=None):
        return raw(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), server)

    def test_only_its_own_names(self):
        for host in ("localhost", "localhost:1", "LocalHost:8000", "127.0.0.1:1234", "[::1]", "[::1]:80", "model.example:8000", "other.example"):
            self.assertEqual(status(self.ask(host)), 200, host)
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:80", "10.0.0.1", "[::2]", "x"):
            for path in ("/version", "/", "/health"):
                answer = self.ask(host, path)
                self.assertEqual(status(answer), 403, host)
                self.assertIn(b"--allowed-host", answer)
        self.assertEqual(status(self.ask("")), 400)
        body = b'{"prompt": "x", "max_tokens": 1}'
        fields = b"Host: evil.example\r\nOrigin: http://evil.example\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.assertEqual(status(raw(b"POST /v1/completions HTTP/1.1\r\n" + fields + body)), 403)

    def test_with_a_key_any_name_is_good(self):
        server = Server(WORK, "--api-key", "secret")
        try:
            self.assertEqual(status(self.ask("any.example", "/health", server)), 200)
            for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
                self.assertEqual(server.request("GET", "/v1/models", None, {"Authorization": scheme + " secret"})[0], 200, scheme)
            for value in ("Basic secret", "secret", "Bearersecret", "Bearer", "Bearer secret x"):
                self.assertEqual(server.request("GET", "/v1/models", None, {"Authorization": value})[0], 401, value)
            self.assertEqual(server.request("GET", "/v1/models", None, {"X-Api-Key": "secret"})[0], 200)
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_on_all_addresses_any_of_them_is_good(self):
        server = Server(WORK, "--host", "0.0.0.0")
        try:
            server.host = "127.0.0.1"
            self.assertEqual(status(self.ask("10.1.2.3:80", "/version", server)), 200)  # an address is nobody's name
            self.assertEqual(status(self.ask("evil.example", "/version", server)), 403)
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_keys_that_are_none(self):
        empty, blank = WORK.path("empty-key"), WORK.path("blank-key")
        for path, text in ((empty, "\n"), (blank, " \n")):
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        for flags in (["--api-key", ""], ["--api-key="], ["--api-key-file", empty], ["--api-key-file", blank], ["--api-key-file", ""],
                      ["--api-key", "two words"], ["--host", ""]):
            done = subprocess.run([PROGRAM, "serve", WORK.model, "--port", "0", *flags], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 2, flags)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


class Floods(unittest.TestCase):
    def test_600_trickling_connections_take_nothing_away(self):
        slow = []
        try:
            for i in range(600):
                connection = SERVER.socket(5)
                connection.sendall(b"GET / HTTP/1.1\r\nX: " if i % 2 else post(b"Content-Length: 999\r\n", b"{"))
                slow.append(connection)
                if i % 60 < 59:
                    continue
                for other in slow[-50:]:
                    other.sendall(b"a")
                start = time.monotonic()
                self.assertEqual(SERVER.request("GET", "/health")[0], 200)
                self.assertLess(time.monotonic() - start, 5)
            self.assertEqual(SERVER.post("/v1/completions", prompt="the", max_tokens=1)[0], 200)
        finally:
            for connection in slow:
                connection.close()

    def test_who_never_stops_sending_is_late_too(self):
        server = Server(WORK, "--read-timeout", "2")
        try:
            head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            chunk = b"1;" + b"x" * 1000 + b"\r\na\r\n"
            with server.socket(10) as connection:
                connection.sendall(head)
                connection.setblocking(False)
                start = time.monotonic()
                answer = b""
                while not answer and time.monotonic() - start < 8:
                    try:
                        connection.send(chunk)
                    except (BlockingIOError, ConnectionError):
                        pass
                    try:
                        answer = connection.recv(4096)
                    except BlockingIOError:
                        time.sleep(0.0005)
                self.assertEqual(status(answer), 408)
            self.assertEqual(status(raw(b"\r\n" * 5 + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")), 200)
            self.assertEqual(status(raw(b"\r\n" * 5000)), 400)
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_a_large_content_length_is_answered_at_once(self):
        for fields, expected in ((b"Content-Length: 9000000", 413), (b"Content-Length: 18446744073709551615", 413),
                                 (b"Content-Length: 99999999999999999999999999", 400),
                                 (b"Expect: 100-continue\r\nContent-Length: 9000000", 413)):
            start = time.monotonic()
            self.assertEqual(status(raw(post(fields + b"\r\n", b""))), expected)
            self.assertLess(time.monotonic() - start, 10)

    def test_large_json_does_not_take_long(self):
        for part in ("{}", "[]", "0"):
            body = '{"prompt": [' + ",".join([part] * 500000) + '], "max_tokens": 1}'
            start = time.monotonic()
            self.assertEqual(SERVER.request("POST", "/v1/completions", body.encode())[0], 400)
            self.assertLess(time.monotonic() - start, 90)
        fields = ",".join(f'"f{i}": 0' for i in range(200000))
        start = time.monotonic()
        body = '{"prompt": "a", "max_tokens": 1, ' + fields + "}"
        self.assertEqual(SERVER.request("POST", "/v1/completions", body.encode())[0], 200)
        self.assertLess(time.monotonic() - start, 90)


class End(unittest.TestCase):
    def test_clients_that_are_gone_leave_nothing_behind(self):
        body = json.dumps({"messages": [{"role": "user", "content": "x"}], "max_tokens": 1500, "ignore_eos": True})
        for _ in range(5):
            connection = SERVER.connect()
            connection.request("POST", CHAT, body, {"Content-Type": "application/json"})
            connection.close()
        SERVER.idle(30)

    def test_the_end_waits_for_no_slow_sender(self):
        server = Server(WORK)
        slow = [server.socket() for _ in range(5)]
        for connection in slow:
            connection.sendall(b"POST / HTTP/1.1\r\n")
        start = time.monotonic()
        self.assertEqual(server.terminate(), 0)
        self.assertLess(time.monotonic() - start, 10)
        for connection in slow:
            connection.close()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
