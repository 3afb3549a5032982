<?php
// php online.php < JSON: asks which channels are online, in both ways, and prints it, as JSON.
//
// JSON: {address, channels: [[id, private], ...]}. Printed: {binary: [[id, private, online], ...],
// text: [id, ...], slowest: seconds}.
declare(strict_types=1);

require __DIR__ . '/http.php';
require __DIR__ . '/protobuf.php';

use PushTests\Http;
use PushTests\Http\Request;
use PushTests\Protobuf;

/** Seconds that a page of the portal waits. */
const PATIENCE = 1.0;

$slowest = 0.0;
$ask = function (string $address, Request $request, string $type) use (&$slowest): string {
    $asked = microtime(true);
    $answer = Http\bySocket($address, $request, PATIENCE);
    $slowest = max($slowest, microtime(true) - $asked);
    if ($answer->status !== 200 || $answer->type !== $type) {
        throw new RuntimeException("{$answer->status} {$answer->type}: {$answer->body}");
    }
    return $answer->body;
};

$given = json_decode(stream_get_contents(STDIN), true, flags: JSON_THROW_ON_ERROR);
$address = $given['address'];
$headers = ['Content-Type' => Http\CONTENT_TYPE];
$binary = $text = [];
foreach (array_chunk($given['channels'], Protobuf\AT_ONCE) as $number => $some) {
    $question = new Request('POST', '/bitrix/pub/?binaryMode=true', Protobuf\question($some), $headers);
    $binary[] = Protobuf\onlineStates($ask($address, $question, 'application/octet-stream'));

    $private = array_column(array_filter($some, fn($channel) => $channel[1]), 0);
    $target = '/bitrix/pub/?CHANNEL_ID=' . implode('/', $private);
    // Portals send a body along, of which nobody knows why.
    $version = $number % 2 ? '1.0' : '1.1';
    $question = new Request('GET', $target, 'a body that nobody reads', $headers, $version);
    $answer = json_decode($ask($address, $question, 'text/plain'), true, flags: JSON_THROW_ON_ERROR);
    $text[] = array_column($answer['infos'], 'channel');
}
$told = ['binary' => array_merge(...$binary), 'text' => array_merge(...$text), 'slowest' => $slowest];
echo json_encode($told, JSON_THROW_ON_ERROR);
