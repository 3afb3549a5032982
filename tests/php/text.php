<?php
// php text.php < JSON: publishes as text, and prints what was answered, as JSON.
//
// JSON: {address, posts: [{way, channels, body, expiry}]}; channels are ids as they stand in
// CHANNEL_ID, any number of them.
declare(strict_types=1);

require __DIR__ . '/http.php';

use PushTests\Http;
use PushTests\Http\Request;

/** Channels in one request. */
const AT_ONCE = 100;

/** @return Http\Answer|null nothing when the answer is not waited for */
function post(string $way, string $address, string $channels, string $body, int $expiry): ?Http\Answer
{
    $headers = ['Content-Type' => Http\CONTENT_TYPE, 'Message-Expiry' => (string) $expiry];
    $expecting = $headers + ['Expect' => '100-continue'];
    $request = fn(string $version, array $headers) =>
        new Request('POST', "/bitrix/pub/?CHANNEL_ID=$channels", $body, $headers, $version);
    return match ($way) {
        'socket, 1.0' => Http\bySocket($address, $request('1.0', $headers)),
        'socket, 1.1' => Http\bySocket($address, $request('1.1', $headers)),
        'socket, 1.1, 100-continue' => Http\bySocket($address, $request('1.1', $expecting)),
        'socket, 1.0, hung up' => Http\andHangUp($address, $request('1.0', $headers)),
        'socket, 1.1, hung up' => Http\andHangUp($address, $request('1.1', $headers)),
        'stream, 1.0' => Http\byStream($address, $request('1.0', $headers)),
        'stream, 1.1' => Http\byStream($address, $request('1.1', $headers)),
        'curl, 1.0' => Http\byCurl($address, $request('1.0', $headers)),
        'curl, 1.1' => Http\byCurl($address, $request('1.1', $headers)),
        'curl, 1.1, 100-continue' => Http\byCurl($address, $request('1.1', $expecting)),
    };
}

$given = json_decode(stream_get_contents(STDIN), true, flags: JSON_THROW_ON_ERROR);
$told = [];
foreach ($given['posts'] as ['way' => $way, 'channels' => $channels, 'body' => $body, 'expiry' => $expiry]) {
    foreach (array_chunk($channels, AT_ONCE) as $some) {
        $answer = post($way, $given['address'], implode('/', $some), $body, $expiry);
        $told[] = ['way' => $way, 'channels' => count($some), 'answer' => $answer];
    }
}
echo json_encode($told, JSON_THROW_ON_ERROR);
