import java.io.IOException;
import java.io.InputStream;
import java.net.Authenticator;
import java.net.HttpURLConnection;
import java.net.PasswordAuthentication;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A shop connector in Java, with the one or the other HTTP client that Java brings along, as it is out of the box.
 *
 * <pre>java Connector.java BASE_URL USER PASSWORD client|connection</pre>
 *
 * It shows its credentials only when it is asked for them. It prints a line for each call: its name, the status, and
 * what came of it, with tabs between; or the exception, where the client gave up.
 */
public class Connector {
    private static final String FORM = "application/x-www-form-urlencoded";
    private static final Pattern LINK = Pattern.compile("<href><!\\[CDATA\\[(.*?)\\]\\]></href>");

    private record Answer(int status, String body) {}

    private interface Caller {
        Answer call(String method, String url, String type, byte[] body) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        String base = arguments[0];
        Authenticator authenticator = new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(arguments[1], arguments[2].toCharArray());
            }
        };
        Caller caller = arguments[3].equals("client") ? client(authenticator) : connection(authenticator);

        String page = step(caller, "list", "GET", base + "/products?limit=2", null, null);
        Matcher links = LINK.matcher(page);
        String last = null;
        while (links.find()) {
            last = links.group(1);
        }
        step(caller, "follow", "GET", last, null, null);
        byte[] form = "data%5Bsku%5D=JAVA-1&data%5Bprice%5D=1990.0000".getBytes(StandardCharsets.US_ASCII);
        step(caller, "create", "POST", base + "/products", FORM, form);
        step(caller, "upload", "POST", base + "/files", "application/octet-stream", new byte[5_000_000]);
        step(caller, "not permitted", "GET", base + "/orders", null, null);
        step(caller, "no such shop", "GET", base + "-not/products", null, null);
    }

    private static String step(Caller caller, String name, String method, String url, String type, byte[] body) {
        String outcome;
        Answer answer = null;
        try {
            answer = caller.call(method, url, type, body);
            outcome = answer.status + "\t" + answer.body.replaceAll("\\s+", " ");
        } catch (Exception error) {
            outcome = "-\t" + error;
        }
        System.out.println(name + "\t" + outcome);
        return answer == null ? "" : answer.body;
    }

    /** java.net.http, since Java 11: asks for HTTP/2 in its first request (Upgrade: h2c). */
    private static Caller client(Authenticator authenticator) {
        HttpClient client = HttpClient.newBuilder().authenticator(authenticator).build();
        return (method, url, type, body) -> {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url));
            if (type != null) {
                request.header("Content-Type", type);
            }
            request.method(method, body == null ? BodyPublishers.noBody() : BodyPublishers.ofByteArray(body));
            var response = client.send(request.build(), BodyHandlers.ofString());
            return new Answer(response.statusCode(), response.body());
        };
    }

    /** HttpURLConnection, since Java 1.1. */
    private static Caller connection(Authenticator authenticator) {
        Authenticator.setDefault(authenticator);
        return (method, url, type, body) -> {
            HttpURLConnection connection = (HttpURLConnection) URI.create(url).toURL().openConnection();
            connection.setRequestMethod(method);
            if (body != null) {
                connection.setDoOutput(true);
                connection.setRequestProperty("Content-Type", type);
                connection.getOutputStream().write(body);
            }
            int status = connection.getResponseCode();
            InputStream stream = status >= 400 ? connection.getErrorStream() : connection.getInputStream();
            if (stream == null) {
                throw new IOException("no body");
            }
            return new Answer(status, new String(stream.readAllBytes(), StandardCharsets.UTF_8));
        };
    }
}
