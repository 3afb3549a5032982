<?php
// The ways in which portals' PHP speaks HTTP: sockets by hand, PHP's own streams, curl.
declare(strict_types=1);

namespace PushTests\Http;

use RuntimeException;

/** Seconds for a connection and for each read and write. */
const PATIENCE = 10.0;

/** What portals call every body, whatever it is. */
const CONTENT_TYPE = 'application/x-www-form-urlencoded';

/** An answer. */
final class Answer
{
    public function __construct(
        public readonly int $status,
        public readonly string $type,
        public readonly string $body,
    ) {}
}

/** A request by hand, in the bytes that go out. */
final class Request
{
    /** @param array<string, string> $headers */
    public function __construct(
        public readonly string $method,
        public readonly string $target,
        public readonly string $body = '',
        public readonly array $headers = [],
        public readonly string $version = '1.1',
    ) {}

    public function head(string $address): string
    {
        $lines = ["{$this->method} {$this->target} HTTP/{$this->version}", "Host: $address", 'User-Agent: portal'];
        $length = strlen($this->body);
        $headers = $this->headers + ['Connection' => 'close', 'Content-Length' => (string) $length];
        foreach ($headers as $name => $value) {
            $lines[] = "$name: $value";
        }
        return implode("\r\n", $lines) . "\r\n\r\n";
    }
}

/** @return resource */
function connect(string $address, float $patience = PATIENCE)
{
    $socket = stream_socket_client("tcp://$address", $code, $message, $patience);
    if ($socket === false) {
        throw new RuntimeException("no connection to $address: $message");
    }
    stream_set_timeout($socket, (int) $patience, (int) (fmod($patience, 1.0) * 1_000_000));
    return $socket;
}

/** @param resource $socket */
function write($socket, string $bytes): void
{
    while ($bytes !== '') {
        $written = fwrite($socket, $bytes);
        if ($written === false || $written === 0) {
            throw new RuntimeException(strlen($bytes) . ' bytes could not be written');
        }
        $bytes = substr($bytes, $written);
    }
}

/** By a socket: the head first, then the body. */
function bySocket(string $address, Request $request, float $patience = PATIENCE): Answer
{
    $socket = connect($address, $patience);
    write($socket, $request->head($address));
    if (isset($request->headers['Expect'])) {
        $line = trim((string) fgets($socket));
        if ($line !== 'HTTP/1.1 100 Continue' || trim((string) fgets($socket)) !== '') {
            throw new RuntimeException("instead of 100 Continue: $line");
        }
    }
    write($socket, $request->body);
    return readAnswer($socket);
}

/** By a socket that is closed as soon as the last byte is written. */
function andHangUp(string $address, Request $request): void
{
    $socket = connect($address);
    write($socket, $request->head($address) . $request->body);
    fclose($socket);
}

/** @param resource $socket that the server closes behind the answer */
function readAnswer($socket): Answer
{
    $bytes = stream_get_contents($socket);
    $late = stream_get_meta_data($socket)['timed_out'];
    fclose($socket);
    if ($bytes === false || $late) {
        throw new RuntimeException('no answer in time');
    }
    $parts = explode("\r\n\r\n", $bytes, 2);
    if (count($parts) !== 2) {
        throw new RuntimeException("no answer: $bytes");
    }
    [$head, $body] = $parts;
    return answerOf(explode("\r\n", $head), $body);
}

/** @param list<string> $lines of the head */
function answerOf(array $lines, string $body): Answer
{
    if (!preg_match('#^HTTP/1\.[01] (\d{3}) #', $lines[0], $found)) {
        throw new RuntimeException("no status line: {$lines[0]}");
    }
    $type = '';
    foreach ($lines as $line) {
        if (preg_match('/^Content-Type:\s*(.*)$/i', $line, $header)) {
            $type = $header[1];
        }
        if (preg_match('/^Transfer-Encoding:\s*chunked/i', $line)) {
            $body = unchunked($body);
        }
    }
    return new Answer((int) $found[1], $type, $body);
}

function unchunked(string $bytes): string
{
    $body = '';
    while (preg_match('/^([0-9a-f]+)\r\n/i', $bytes, $found)) {
        $length = (int) hexdec($found[1]);
        $body .= substr($bytes, strlen($found[0]), $length);
        $bytes = substr($bytes, strlen($found[0]) + $length + 2);
    }
    return $body;
}

/** By PHP's own streams. */
function byStream(string $address, Request $request): Answer
{
    $headers = [];
    foreach ($request->headers as $name => $value) {
        $headers[] = "$name: $value";
    }
    $context = stream_context_create(['http' => [
        'method' => $request->method,
        'header' => $headers,
        'content' => $request->body,
        'protocol_version' => (float) $request->version,
        'ignore_errors' => true,
        'timeout' => PATIENCE,
    ]]);
    $body = file_get_contents("http://$address{$request->target}", false, $context);
    if ($body === false) {
        throw new RuntimeException('no answer');
    }
    // A stream takes the chunks apart and leaves their header.
    $lines = array_filter($http_response_header, fn($line) => stripos($line, 'Transfer-Encoding:') !== 0);
    return answerOf(array_values($lines), $body);
}

/** By curl. */
function byCurl(string $address, Request $request): Answer
{
    $headers = [];
    foreach ($request->headers as $name => $value) {
        $headers[] = "$name: $value";
    }
    $curl = curl_init("http://$address{$request->target}");
    curl_setopt_array($curl, [
        CURLOPT_CUSTOMREQUEST => $request->method,
        CURLOPT_POSTFIELDS => $request->body,
        CURLOPT_HTTPHEADER => $headers,
        CURLOPT_HTTP_VERSION => $request->version === '1.0' ? CURL_HTTP_VERSION_1_0 : CURL_HTTP_VERSION_1_1,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT_MS => (int) (PATIENCE * 1000),
        // Without its 100 curl would go on after a second all the same.
        CURLOPT_EXPECT_100_TIMEOUT_MS => (int) (PATIENCE * 1000),
    ]);
    $body = curl_exec($curl);
    if (!is_string($body)) {
        throw new RuntimeException('curl: ' . curl_error($curl));
    }
    return new Answer(
        curl_getinfo($curl, CURLINFO_RESPONSE_CODE),
        (string) curl_getinfo($curl, CURLINFO_CONTENT_TYPE),
        $body,
    );
}
