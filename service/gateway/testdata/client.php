<?php
// A client that is as strict as prunner's PHP one: typed properties, times by
// format, 202 and 200 as the only successes, lists sent as objects.
declare(strict_types=1);
error_reporting(E_ALL);
set_error_handler(function (int $no, string $text, string $file, int $line) { throw new ErrorException("$text at line $line"); });

function b64(string $s): string { return rtrim(strtr(base64_encode($s), '+/', '-_'), '='); }

function call(string $method, string $path, ?string $body): array
{
    $head = b64(json_encode(['typ' => 'JWT', 'alg' => 'HS256'])) . '.' . b64(json_encode(['sub' => 'cli', 'exp' => time() + 60]));
    $token = $head . '.' . b64(hash_hmac('sha256', $head, getenv('SECRET'), true));
    $url = parse_url(getenv('URL'));
    $socket = stream_socket_client("tcp://{$url['host']}:{$url['port']}", $no, $text, 30);
    $length = $body === null ? '' : 'Content-Length: ' . strlen($body) . "\r\n";
    fwrite($socket, "$method $path HTTP/1.0\r\nHost: {$url['host']}\r\nAuthorization: Bearer $token\r\n$length\r\n" . ($body ?? ''));
    [$headers, $text] = explode("\r\n\r\n", stream_get_contents($socket), 2);
    preg_match('{^HTTP/1\.\d (\d+)}', $headers, $match);
    return [(int)$match[1], json_decode($text, true, 512, JSON_THROW_ON_ERROR)];
}

function moment(string $text): DateTimeImmutable
{
    $time = DateTimeImmutable::createFromFormat(DateTimeInterface::W3C, $text);
    if ($time === false) { throw new RuntimeException("no time: $text"); }
    return $time;
}

final class Task
{
    public string $name; public string $status; public ?DateTimeImmutable $start; public ?DateTimeImmutable $end;
    public bool $skipped; public int $exitCode; public bool $errored; public ?string $error;
    public function __construct(array $in)
    {
        foreach (['name', 'status', 'skipped', 'exitCode', 'errored'] as $key) { $this->$key = $in[$key]; }
        $this->start = $in['start'] === null ? null : moment($in['start']);
        $this->end = $in['end'] === null ? null : moment($in['end']);
        $this->error = $in['error'] ?? '';
    }
}

final class Job
{
    public string $id; public string $pipeline; public array $tasks; public bool $completed; public bool $canceled; public bool $errored;
    public DateTimeImmutable $created; public ?DateTimeImmutable $start; public ?DateTimeImmutable $end;
    public ?string $lastError; public array $variables; public string $user;
    public function __construct(array $in)
    {
        if (isset($in['error'])) { throw new RuntimeException('taken for an error'); }
        foreach (['id', 'pipeline', 'completed', 'canceled', 'errored', 'user'] as $key) { $this->$key = $in[$key]; }
        $this->tasks = array_map(fn(array $task) => new Task($task), $in['tasks']);
        $this->created = moment($in['created']);
        $this->start = $in['start'] === null ? null : moment($in['start']);
        $this->end = $in['end'] === null ? null : moment($in['end']);
        $this->lastError = $in['lastError'] ?? '';
        $this->variables = $in['variables'] ?? [];
    }
}

function same($got, $want, string $what): void
{
    if ($got !== $want) { throw new RuntimeException("$what: " . var_export($got, true) . ', want ' . var_export($want, true)); }
}

function schedule(string $pipeline, array $variables): string
{
    [$code, $reply] = call('POST', '/pipelines/schedule', json_encode(['pipeline' => $pipeline, 'variables' => $variables], JSON_FORCE_OBJECT));
    same($code, 202, 'schedule');
    return $reply['jobId'];
}

function job(string $id): Job
{
    [$code, $reply] = call('GET', '/job/detail?' . http_build_query(['id' => $id]), null);
    same($code, 200, 'detail');
    return new Job($reply);
}

function ended(string $id): Job
{
    for ($i = 0; $i < 600; $i++) {
        $job = job($id);
        if ($job->completed) { return $job; }
        usleep(100000);
    }
    throw new RuntimeException("job $id does not end");
}

$job = ended(schedule('release', ['tag' => 'v1', 'list' => ['a', 'b'], 'none' => []]));
same([$job->user, $job->errored, $job->variables['list']], ['cli', false, ['a', 'b']], 'the job');
same(array_map(fn(Task $t) => $t->status, $job->tasks), ['done', 'done'], 'the tasks');
[$code, $logs] = call('GET', '/job/logs?' . http_build_query(['id' => $job->id, 'task' => 'lint']), null);
same([$code, $logs], [200, ['stdout' => "lint v1\n", 'stderr' => "warn\n"]], 'the logs');
$failed = ended(schedule('fails', []));
same([$failed->errored, $failed->tasks[0]->exitCode, $failed->tasks[1]->skipped, $failed->lastError !== ''], [true, 3, true, true], 'the failed job');
$slow = schedule('slow', []);
[$code, $reply] = call('POST', '/job/cancel?' . http_build_query(['id' => $slow]), '');
same([$code, $reply], [200, true], 'cancel');
same(ended($slow)->canceled, true, 'the canceled job');
[$code, $all] = call('GET', '/pipelines/jobs', null);
same([$code, count($all['jobs']), $all['jobs'][0]['id'], count($all['pipelines'])], [200, 3, $slow, 3], 'the list');
foreach ($all['jobs'] as $one) { new Job($one); }
foreach ($all['pipelines'] as $one) { same([is_string($one['pipeline']), is_bool($one['schedulable']), is_bool($one['running'])], [true, true, true], 'a pipeline'); }
[$code, $reply] = call('GET', '/job/detail?id=11111111-1111-1111-1111-111111111111', null);
same([$code, $reply], [404, ['error' => 'Job not found']], 'an unknown job');
echo "all good\n";
