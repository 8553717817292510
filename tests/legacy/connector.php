<?php
/**
 * A shop connector as many were written around 2015: PHP with its curl extension, Basic credentials, plain HTTP.
 *
 *     php connector.php BASE_URL [--resolve=HOST:PORT:ADDRESS] [--without-simplexml]
 *
 * It lists products, follows the links in the answers, creates, changes and deletes, and sends a batch. On stdout it
 * prints one JSON report; where an answer is not what a connector can work with, it says so on stderr and exits 1.
 * `--resolve` stands for a line in /etc/hosts. `--without-simplexml` reads XML as on servers that lack php-xml.
 *
 * Rules: it knows nothing of tokens, and nothing of a proxy but BASE_URL. One thing a real connector would not do: it
 * refuses to follow a link that leads away from BASE_URL, so that no test ever calls the real platform.
 */

error_reporting(E_ALL);
set_error_handler(function ($severity, $message, $file, $line) {
    throw new ErrorException($message, 0, $severity, $file, $line);
});

class ConnectorException extends Exception
{
}

class Connector
{
    const USER = 'old-api-user';
    const PASSWORD = 'old-api-password';

    public $steps = array();

    private $base;
    private $resolve;
    private $curl;

    public function __construct($base, $resolve)
    {
        $this->base = rtrim($base, '/');
        $this->resolve = $resolve;
        $this->curl = curl_init();
    }

    public function base()
    {
        return $this->base;
    }

    /**
     * One call: the answer's body, if it has the status that was expected.
     */
    public function call($step, $method, $url, $expected, $options = array())
    {
        if (strpos($url, $this->base . '/') !== 0) {
            throw new ConnectorException("$step: the link leads elsewhere: $url");
        }
        $continued = false;
        $defaults = array(
            CURLOPT_URL => $url,
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_USERPWD => self::USER . ':' . self::PASSWORD,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_FOLLOWLOCATION => true,
            CURLOPT_CONNECTTIMEOUT => 5,
            CURLOPT_TIMEOUT => 20,
            CURLOPT_HEADERFUNCTION => function ($curl, $line) use (&$continued) {
                $continued = $continued || strpos($line, 'HTTP/1.1 100') === 0;
                return strlen($line);
            },
        );
        if ($this->resolve) {
            $defaults[CURLOPT_RESOLVE] = array($this->resolve);
        }
        curl_reset($this->curl);
        curl_setopt_array($this->curl, $options + $defaults);
        $body = curl_exec($this->curl);
        if ($body === false) {
            throw new ConnectorException("$step: $method $url: " . curl_error($this->curl));
        }
        $status = curl_getinfo($this->curl, CURLINFO_HTTP_CODE);
        $this->steps[$step] = array('method' => $method, 'url' => $url, 'status' => $status, 'continued' => $continued);
        if ($status !== $expected) {
            throw new ConnectorException("$step: $method $url: $expected was expected, $status came: $body");
        }
        return $body;
    }

    public function callForJson($step, $method, $url, $expected, $options = array())
    {
        $headers = isset($options[CURLOPT_HTTPHEADER]) ? $options[CURLOPT_HTTPHEADER] : array();
        $headers[] = 'Accept: application/json';
        $body = $this->call($step, $method, $url, $expected, array(CURLOPT_HTTPHEADER => $headers) + $options);
        $data = json_decode($body, true);
        if (!is_array($data)) {
            throw new ConnectorException("$step: no JSON: $body");
        }
        return $data;
    }

    public function found($step, $what, $value)
    {
        $this->steps[$step][$what] = $value;
    }
}

/**
 * The texts of all elements at a path such as `item/href`, whose last element comes first in the one around it.
 */
function xml_values($body, $path, $with_simplexml)
{
    if ($with_simplexml) {
        return array_map('strval', simplexml_load_string($body, 'SimpleXMLElement', LIBXML_NOCDATA)->xpath("//$path"));
    }
    $start = '<' . str_replace('/', '><', $path) . '>';
    $end = '</' . basename($path) . '>';
    preg_match_all("~$start<!\[CDATA\[(.*?)\]\]>$end~s", $body, $matches);
    return $matches[1];
}

function only($values, $what)
{
    if (count($values) !== 1) {
        throw new ConnectorException("$what: one value was expected, there are " . count($values));
    }
    return $values[0];
}

function read_xml($shop, $with_simplexml)
{
    $body = $shop->call('list', 'GET', $shop->base() . '/products?limit=5', 200);
    $links = xml_values($body, 'item/href', $with_simplexml);
    $next = only(xml_values($body, 'next/href', $with_simplexml), 'list: next');
    $shop->found('list', 'links', $links);

    $body = $shop->call('next page', 'GET', $next, 200);
    $shop->found('next page', 'links', xml_values($body, 'item/href', $with_simplexml));

    $body = $shop->call('product', 'GET', $links[0], 200);
    $shop->found('product', 'sku', only(xml_values($body, 'sku', $with_simplexml), 'product: sku'));
}

/**
 * The same in JSON; returns the links of the first products, and one to a manufacturer.
 */
function read_json($shop)
{
    $url = $shop->base() . '/products?limit=5';
    $page = $shop->callForJson('list, JSON', 'GET', $url, 200, array(CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_1_0));
    $links = array();
    foreach ($page['items'] as $item) {
        $links[] = $item['href'];
    }
    $shop->found('list, JSON', 'links', $links);

    $page = $shop->callForJson('next page, JSON', 'GET', $page['next']['href'], 200);
    $shop->found('next page, JSON', 'page', $page['page']);

    $product = $shop->callForJson('product, JSON', 'GET', $links[0], 200);
    $shop->found('product, JSON', 'sku', $product['sku']);

    $manufacturer = $shop->callForJson('nested link, JSON', 'GET', $product['manufacturer']['href'], 200);
    $shop->found('nested link, JSON', 'name', $manufacturer['name']);
    return array($links, $manufacturer['href']);
}

/**
 * Create a product from a form, and one from JSON that is above 1 kB; returns the links to both.
 */
function create($shop, $manufacturer)
{
    // An array makes PHP send multipart/form-data.
    $fields = array(
        'data[sku]' => 'FORM-1',
        'data[price]' => '1990.0000',
        'data[manufacturer][href]' => $manufacturer,
    );
    $options = array(CURLOPT_POSTFIELDS => $fields);
    $made = $shop->callForJson('create, form', 'POST', $shop->base() . '/products', 201, $options);
    $shop->found('create, form', 'product', $made);

    $fields = array(
        'sku' => 'JSON-1',
        'price' => 2990,
        'imageAlt' => str_repeat('Árvíztűrő ', 200),
        'manufacturer' => array('href' => $manufacturer),
    );
    $options = array(
        CURLOPT_POSTFIELDS => json_encode(array('data' => $fields)),
        // Old versions of libcurl send this by themselves with every body above 1 kB, newer ones above 1 MB.
        CURLOPT_HTTPHEADER => array('Content-Type: application/json', 'Expect: 100-continue'),
    );
    $also_made = $shop->callForJson('create, JSON', 'POST', $shop->base() . '/products', 201, $options);
    $shop->found('create, JSON', 'product', $also_made);
    return array($made['href'], $also_made['href']);
}

function change($shop, $link)
{
    $fields = http_build_query(array('data' => array('price' => '2490.0000')));
    $shop->callForJson('change', 'PUT', $link, 200, array(CURLOPT_POSTFIELDS => $fields));
    $product = $shop->callForJson('read again', 'GET', $link, 200);
    $shop->found('read again', 'sku', $product['sku']);
    $shop->found('read again', 'price', $product['price']);
}

function batch($shop, $links)
{
    $requests = array();
    foreach ($links as $link) {
        $requests[] = array('method' => 'GET', 'uri' => $link . '?full=1');
    }
    $options = array(
        CURLOPT_POSTFIELDS => json_encode(array('data' => array('requests' => $requests))),
        CURLOPT_HTTPHEADER => array('Content-Type: application/json'),
    );
    $answer = $shop->callForJson('batch', 'POST', $shop->base() . '/batch', 200, $options);
    $parts = array();
    foreach ($answer['requests']['request'] as $part) {
        $body = $part['response']['body'];
        $parts[] = array(
            'uri' => $part['uri'],
            'status' => $part['response']['header']['statusCode'],
            'sku' => is_array($body) ? $body['sku'] : $body,
        );
    }
    $shop->found('batch', 'parts', $parts);
}

function delete($shop, $link, $another)
{
    $shop->call('delete', 'DELETE', $link, 204);
    $shop->call('delete with a body', 'DELETE', $another, 204, array(CURLOPT_POSTFIELDS => 'data[reason]=sold+out'));
    $shop->call('deleted', 'GET', $link, 404);
    $shop->call('deleted too', 'GET', $another, 404);
}

function main($arguments)
{
    $base = null;
    $resolve = null;
    $with_simplexml = extension_loaded('simplexml');
    foreach ($arguments as $argument) {
        if (strpos($argument, '--resolve=') === 0) {
            $resolve = substr($argument, strlen('--resolve='));
        } elseif ($argument === '--without-simplexml') {
            $with_simplexml = false;
        } else {
            $base = $argument;
        }
    }
    if ($base === null) {
        fwrite(STDERR, "usage: php connector.php BASE_URL [--resolve=HOST:PORT:ADDRESS] [--without-simplexml]\n");
        return 2;
    }
    try {
        $shop = new Connector($base, $resolve);
        read_xml($shop, $with_simplexml);
        list($links, $manufacturer) = read_json($shop);
        list($made, $also_made) = create($shop, $manufacturer);
        change($shop, $made);
        batch($shop, array($links[0], $links[1], $made));
        delete($shop, $made, $also_made);
    } catch (Exception $error) {
        fwrite(STDERR, 'connector: ' . $error->getMessage() . "\n");
        return 1;
    }
    echo json_encode($shop->steps), "\n";
    return 0;
}

exit(main(array_slice($argv, 1)));
