# Load and faults against the real program: many streams, clients that vanish, slow readers, a cache
# that is too small. None may change another request's tokens, leak or hang.
# Usage: load_test.py [ULTRAMOE]; exit code 77: skipped.
import json
import random
import socket
import sys
import threading
import time
import unittest

from harness import Server, Workplace, events, program_or_skip

PROGRAM = program_or_skip()
WORK = None


def setUpModule():
    global WORK
    WORK = Workplace(PROGRAM)


def tearDownModule():
    WORK.close()


def body_of(i, tokens=24, **fields):
    words = random.Random(i % 20).choices("the river runs under a stone bridge and seven grey geese".split(), k=5 + i % 20 * 3)
    return {"prompt": " ".join(words), "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "return_token_ids": True, **fields}


def request_bytes(body):
    data = json.dumps(body).encode()
    return b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data


def stream_ids(server, body):
    """The ids of a streamed answer."""
    connection = server.connect(180)
    connection.request("POST", "/v1/completions", json.dumps(dict(body, stream=True)), {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    ids, done = [], False
    for data in events(response):
        if data == "[DONE]":
            done = True
            break
        chunk = json.loads(data)
        assert "error" not in chunk, chunk
        ids += chunk["choices"][0].get("token_ids", [])
    connection.close()
    assert done
    return ids


def vanish(server, i, after):
    """Begins a long answer and hangs up after some bytes."""
    data = request_bytes(body_of(i, 1500, stream=True))
    try:
        with server.socket() as connection:
            connection.sendall(data[:len(data) - (after == 0)])
            if after:
                begun = connection.recv(after)
                assert b"HTTP/1.1 200 ".startswith(begun[:13]), begun
            if i % 2:  # a reset instead of an orderly end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except OSError:
        pass


class Load(unittest.TestCase):
    def together(self, works):
        failures = []

        def guard(work):
            try:
                work()
            except Exception as error:  # pylint: disable=broad-except
                failures.append(repr(error))

        threads = [threading.Thread(target=guard, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
            self.assertFalse(thread.is_alive(), "a client hangs")
        self.assertEqual(failures, [])

    def test_200_streams_with_vanishing_clients_and_slow_readers(self):
        server = Server(WORK, "--max-batch", "32", "--max-queue", "500", "--write-timeout", "20")
        try:
            alone = {i: stream_ids(server, body_of(i)) for i in range(20)}
            wrong = []

            def good(i):
                ids = stream_ids(server, body_of(i))
                if ids != alone[i % 20]:
                    wrong.append(i)

            def slow(i):
                with socket.socket() as connection:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                    connection.settimeout(120)
                    connection.connect((server.host, server.port))
                    connection.sendall(request_bytes(body_of(i, 200, stream=True)))
                    text, pause = b"", 2.0
                    while part := connection.recv(512):
                        text += part
                        time.sleep(pause)
                        pause = 0.0005
                    assert text.endswith(b"0\r\n\r\n"), text[-40:]

            works = [lambda i=i: good(i) for i in range(200)]
            works += [lambda i=i: vanish(server, i, (0, 1, 500, 3000)[i % 4]) for i in range(60)]
            works += [lambda i=i: slow(i) for i in range(8)]
            random.Random(1).shuffle(works)
            self.together(works)
            self.assertEqual(wrong, [], "tokens depend on the load")
            server.idle()
            before = server.resident_bytes()
            self.together([lambda i=i: vanish(server, i, 300) for i in range(100)])
            self.together([lambda i=i: good(i) for i in range(100)])
            server.idle()
            if not WORK.sanitized:
                self.assertLess(server.resident_bytes() - before, 30 << 20, "memory grows")
            self.assertEqual(wrong, [])
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_pieces_of_a_long_text_take_memory_for_the_answer_only(self):
        server = Server(WORK)
        try:
            server.post("/tokenize", content="warm", with_pieces=True)
            before = server.resident_bytes()
            for _ in range(3):
                answer = server.post("/tokenize", content="!1" * 500_000, with_pieces=True, return_token_strs=True)[1]
                self.assertEqual(len(answer["tokens"]), answer["count"])
                self.assertEqual(len(answer["token_strs"]), answer["count"])
            if not WORK.sanitized:
                self.assertLess(server.resident_bytes() - before, 150 << 20, "tens of bytes for each of the text's")
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_a_cache_that_is_too_small_for_all(self):
        server = Server(WORK, "--cache-tokens", "2048", "--max-queue", "500")
        roomy = Server(WORK, "--cache-tokens", "65536")
        try:
            alone = {i: stream_ids(roomy, body_of(i, 200)) for i in range(12)}
            wrong = []

            def one(i):
                if stream_ids(server, body_of(i, 200)) != alone[i]:
                    wrong.append(i)

            self.together([lambda i=i: one(i) for i in range(12)])
            self.assertEqual(wrong, [])
            server.idle()
        finally:
            self.assertEqual(roomy.terminate(), 0)
            self.assertEqual(server.terminate(), 0)

    def test_a_reader_who_never_reads_is_cut_off(self):
        server = Server(WORK, "--write-timeout", "1")
        try:
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect((server.host, server.port))
            connection.sendall(request_bytes(body_of(1, 2000, stream=True, logprobs=20, n=8)))
            time.sleep(0.5)
            self.assertEqual(len(stream_ids(server, body_of(2))), 24)  # others go on
            server.idle(120)
            connection.close()
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_whole_answers_end_with_their_clients_and_in_time(self):
        server = Server(WORK, "--request-timeout", "1")
        try:
            before = server.metric("vllm:generation_tokens_total")
            with server.socket() as connection:
                connection.sendall(request_bytes(body_of(1, 2000, n=16)))
                time.sleep(0.2)
            server.idle()
            self.assertLess(server.metric("vllm:generation_tokens_total") - before, 16 * 2000)
            aborted = 'vllm:request_success_total{model_name="tiny-model",finished_reason="abort"} 16'
            self.assertIn(aborted, server.request("GET", "/metrics")[2])
            statuses = {server.post("/v1/completions", **body_of(i, 2000, n=16))[0] for i in range(2)}
            self.assertLessEqual(statuses, {200, 504})  # 200: a very fast machine
            server.idle()
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_killed_while_streaming(self):
        server = Server(WORK)
        works = []
        for i in range(10):
            def work(i=i):
                try:
                    stream_ids(server, body_of(i, 1500))
                except (AssertionError, OSError, Exception):  # pylint: disable=broad-except
                    pass
            works.append(work)
        killer = threading.Timer(0.5, server.process.kill)
        killer.start()
        self.together(works)
        server.process.wait(10)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
