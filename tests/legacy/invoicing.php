<?php
/**
 * An invoicing script as many were written around 2010: PHP's own streams, forms with `data[sku]`, XML by SimpleXML.
 *
 *     php invoicing.php BASE_URL USER PASSWORD
 *
 * It knows HTTP/1.0 and 1.1, sends its credentials unasked, and expects XML of everything, errors too: of those it
 * shows the <message>. It prints one JSON report, and exits 1 where it can't go on.
 */

error_reporting(E_ALL);
set_error_handler(function ($severity, $message, $file, $line) {
    throw new ErrorException($message, 0, $severity, $file, $line);
});

class Invoicing
{
    public $report = array();

    private $base;
    private $credentials;

    public function __construct($base, $user, $password)
    {
        $this->base = rtrim($base, '/');
        $this->credentials = base64_encode("$user:$password");
    }

    /**
     * One call: the XML of the answer, whatever its status; null if there is none.
     */
    public function call($step, $method, $url, $fields = array(), $version = 1.0)
    {
        $headers = array("Authorization: Basic {$this->credentials}");
        $options = array('method' => $method, 'ignore_errors' => true, 'timeout' => 20, 'protocol_version' => $version);
        if ($version > 1.0) {
            $headers[] = 'Connection: close';
        }
        if ($fields) {
            $headers[] = 'Content-Type: application/x-www-form-urlencoded';
            $options['content'] = http_build_query(array('data' => $fields));
        }
        $options['header'] = implode("\r\n", $headers);
        $body = file_get_contents($url, false, stream_context_create(array('http' => $options)));
        $status = (int) substr($http_response_header[0], 9, 3);
        $xml = $body === '' ? null : simplexml_load_string($body, 'SimpleXMLElement', LIBXML_NOCDATA);
        if ($body !== '' && $xml === false) {
            throw new Exception("$step: no XML: $body");
        }
        $this->report[$step] = array('status' => $status);
        if ($status >= 400) {
            $this->report[$step]['message'] = (string) $xml->message;
        }
        return $xml;
    }

    public function run()
    {
        $page = $this->call('list', 'GET', "{$this->base}/products?limit=3&full=1");
        $this->report['list']['skus'] = array();
        foreach ($page->items->item as $item) {
            $this->report['list']['skus'][] = (string) $item->sku;
        }
        $this->report['list']['next'] = (string) $page->next->href;
        $this->call('next page', 'GET', (string) $page->next->href, array(), 1.1);

        $fields = array(
            'sku' => 'INV-1',
            'price' => '1990.0000',
            'imageAlt' => 'Árvíztűrő tükörfúrógép & <co>',
            'manufacturer' => array('href' => (string) $page->items->item[0]->manufacturer->href),
        );
        $made = $this->call('create', 'POST', "{$this->base}/products", $fields);
        $this->report['create']['manufacturer'] = (string) $made->manufacturer->href;
        $this->report['create']['imageAlt'] = (string) $made->imageAlt;
        $changed = $this->call('change', 'PUT', (string) $made->href, array('price' => '2490.0000'), 1.1);
        $this->report['change']['price'] = (string) $changed->price;
        $this->call('delete', 'DELETE', (string) $made->href);

        // What goes wrong: at the platform, and on the way there.
        $this->call('gone', 'GET', (string) $made->href);
        $this->call('not permitted', 'GET', "{$this->base}/orders");
        $this->call('no such shop', 'GET', preg_replace('~/[^/]+$~', '/no-such-shop', $this->base) . '/products');
        $this->call('climbing', 'GET', "{$this->base}/../x", array(), 1.1);
        $this->credentials = base64_encode('somebody:else');
        $this->call('wrong password', 'GET', "{$this->base}/products");
    }
}

$invoicing = new Invoicing($argv[1], $argv[2], $argv[3]);
try {
    $invoicing->run();
} catch (Exception $error) {
    fwrite(STDERR, 'invoicing: ' . $error->getMessage() . "\n");
    exit(1);
}
echo json_encode($invoicing->report), "\n";
