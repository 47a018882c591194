// Google's library for Java as an app uses it: nothing here knows of a proxy. What came of it, as one JSON object.

import com.google.api.client.http.GenericUrl;
import com.google.api.client.http.javanet.NetHttpTransport;
import com.google.auth.Credentials;
import com.google.auth.http.HttpCredentialsAdapter;
import com.google.auth.oauth2.ComputeEngineCredentials;
import com.google.auth.oauth2.GoogleCredentials;
import com.google.auth.oauth2.IdTokenCredentials;
import com.google.auth.oauth2.IdTokenProvider;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.util.List;

public class Metadata {
  public static void main(String[] args) throws IOException {
    String service = args[0], api = args[1];
    GoogleCredentials found = GoogleCredentials.getApplicationDefault();
    Credentials calling =
        IdTokenCredentials.newBuilder()
            .setIdTokenProvider((IdTokenProvider) found)
            .setTargetAudience(service)
            .setOptions(List.of(IdTokenProvider.Option.FORMAT_FULL))
            .build();
    Credentials asking = found.createScoped(List.of("https://www.googleapis.com/auth/cloud-platform"));
    JsonObject told = new JsonObject();
    told.addProperty("available", found instanceof ComputeEngineCredentials);
    told.addProperty("email", ((ComputeEngineCredentials) found).getAccount());
    told.addProperty("caller", caller(calling, service));
    told.addProperty("api", caller(asking, api));
    System.out.println(told);
  }

  private static String caller(Credentials credentials, String url) throws IOException {
    return JsonParser.parseString(
            new NetHttpTransport()
                .createRequestFactory(new HttpCredentialsAdapter(credentials))
                .buildGetRequest(new GenericUrl(url + "/from-java"))
                .execute()
                .parseAsString())
        .getAsJsonObject()
        .get("caller")
        .getAsString();
  }
}
