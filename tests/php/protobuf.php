<?php
// Protobuf by hand, as much of push.proto as a portal needs (PROTOCOL.md, section 14).
declare(strict_types=1);

namespace PushTests\Protobuf;

use RuntimeException;

/** Channels in one message or one question, and messages in one request, at most. */
const AT_ONCE = 100;

/** Bytes of one request, at most: a little less than what the server takes. */
const MAX_REQUEST = 1_048_376;

function varint(int $number): string
{
    $bytes = '';
    while ($number > 0x7f) {
        $bytes .= chr($number & 0x7f | 0x80);
        $number >>= 7;
    }
    return $bytes . chr($number);
}

/** A field of bytes: a string or a message. */
function bytes(int $field, string $value): string
{
    return varint($field << 3 | 2) . varint(strlen($value)) . $value;
}

/** A field with a number; 0 is left out. */
function number(int $field, int $value): string
{
    return $value === 0 ? '' : varint($field << 3) . varint($value);
}

/** Receiver and ChannelId look alike. */
function channel(string $hex, bool $private): string
{
    return bytes(1, hex2bin($hex)) . number(2, (int) $private);
}

/** @param list<array{string, bool}> $receivers ids, and whether they are private */
function incomingMessage(array $receivers, string $body, int $expiry, string $type = ''): string
{
    $message = '';
    foreach ($receivers as [$id, $private]) {
        $message .= bytes(1, channel($id, $private));
    }
    return $message . bytes(3, $body) . number(4, $expiry) . ($type === '' ? '' : bytes(5, $type));
}

/** RequestBatch { requests: [{ incomingMessages }] } around encoded messages. */
function publication(string $messages): string
{
    return bytes(1, bytes(1, $messages));
}

/**
 * As few requests as hold these messages, each of at most AT_ONCE messages and MAX_REQUEST bytes.
 *
 * @param iterable<string> $messages encoded
 * @return iterable<array{int, string}> number of messages, request
 */
function publications(iterable $messages): iterable
{
    $collected = '';
    $count = 0;
    foreach ($messages as $message) {
        $field = bytes(1, $message);
        if ($count === AT_ONCE || $count > 0 && strlen(publication($collected . $field)) > MAX_REQUEST) {
            yield [$count, publication($collected)];
            [$collected, $count] = ['', 0];
        }
        $collected .= $field;
        $count += 1;
    }
    if ($count > 0) {
        yield [$count, publication($collected)];
    }
}

/** @param list<array{string, bool}> $channels ids, and whether they are private */
function question(array $channels): string
{
    $stats = '';
    foreach ($channels as [$id, $private]) {
        $stats .= bytes(1, channel($id, $private));
    }
    return bytes(1, bytes(2, $stats));
}

/** @return list<array{string, bool, bool}> of a ResponseBatch: id, private, online */
function onlineStates(string $batch): array
{
    $states = [];
    foreach (fields($batch)[1] ?? [] as $response) {
        foreach (fields($response)[2] ?? [] as $stats) {
            foreach (fields($stats)[1] ?? [] as $channel) {
                $fields = fields($channel);
                $states[] = [bin2hex($fields[1][0]), (bool) ($fields[2][0] ?? 0), (bool) ($fields[3][0] ?? 0)];
            }
        }
    }
    return $states;
}

/** @return array<int, list<string|int>> the values of each field */
function fields(string $message): array
{
    $fields = [];
    $at = 0;
    while ($at < strlen($message)) {
        $tag = readVarint($message, $at);
        $value = readVarint($message, $at);
        if (($tag & 7) === 2) {
            if ($at + $value > strlen($message)) {
                throw new RuntimeException('a field runs past the end');
            }
            $length = $value;
            $value = substr($message, $at, $length);
            $at += $length;
        } elseif (($tag & 7) !== 0) {
            throw new RuntimeException("wire type of tag $tag");
        }
        $fields[$tag >> 3][] = $value;
    }
    return $fields;
}

function readVarint(string $message, int &$at): int
{
    $number = 0;
    for ($shift = 0; ; $shift += 7) {
        if ($at >= strlen($message) || $shift > 56) {
            throw new RuntimeException('a number does not end');
        }
        $byte = ord($message[$at++]);
        $number |= ($byte & 0x7f) << $shift;
        if ($byte < 0x80) {
            return $number;
        }
    }
}
