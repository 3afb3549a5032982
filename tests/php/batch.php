<?php
// php batch.php < JSON: publishes protobuf batches, and prints what was answered, as JSON.
//
// JSON: {address, messages: [{receivers: [[id, private], ...], body, repeat, expiry}], fill}. A
// message has `body` `repeat` times; one to more channels than a message may have goes out as several.
// With `fill` the last message is made so long that its request is as long as may be.
declare(strict_types=1);

require __DIR__ . '/http.php';
require __DIR__ . '/protobuf.php';

use PushTests\Http;
use PushTests\Protobuf;

/** @return iterable<string> encoded messages */
function encoded(array $messages): iterable
{
    foreach ($messages as $message) {
        $body = str_repeat($message['body'], $message['repeat']);
        foreach (array_chunk($message['receivers'], Protobuf\AT_ONCE) as $receivers) {
            yield Protobuf\incomingMessage($receivers, $body, $message['expiry'], 'im');
        }
    }
}

/** A request of exactly MAX_REQUEST bytes with one message. */
function filled(array $receivers, int $expiry): string
{
    $length = Protobuf\MAX_REQUEST;
    do {
        $message = Protobuf\incomingMessage($receivers, str_repeat('x', $length), $expiry);
        $request = Protobuf\publication(Protobuf\bytes(1, $message));
        $length -= strlen($request) - Protobuf\MAX_REQUEST;
    } while (strlen($request) !== Protobuf\MAX_REQUEST);
    return $request;
}

$given = json_decode(stream_get_contents(STDIN), true, flags: JSON_THROW_ON_ERROR);
$host = explode(':', $given['address'])[0];
$target = "/bitrix/pub/?binaryMode=true&hostname=$host";
$requests = isset($given['fill'])
    ? [[1, filled($given['fill']['receivers'], $given['fill']['expiry'])]]
    : Protobuf\publications(encoded($given['messages']));

$told = [];
foreach ($requests as [$count, $body]) {
    $headers = ['Content-Type' => Http\CONTENT_TYPE];
    $answer = Http\byCurl($given['address'], new Http\Request('POST', $target, $body, $headers));
    $told[] = ['messages' => $count, 'bytes' => strlen($body), 'answer' => $answer];
}
echo json_encode($told, JSON_THROW_ON_ERROR);
