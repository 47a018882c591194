// Google's library for Node.js as an app uses it: nothing here knows of a proxy. What came of it, as one JSON object.
"use strict";

const metadata = require("gcp-metadata");
const { GoogleAuth } = require("google-auth-library");

const [, , service, api] = process.argv;

async function main() {
  const auth = new GoogleAuth({ scopes: "https://www.googleapis.com/auth/cloud-platform" });
  const calling = await auth.getIdTokenClient(service);
  const called = await calling.request({ url: `${service}/from-node` });
  const client = await auth.getClient();
  const asked = await client.request({ url: `${api}/from-node` });
  console.log(JSON.stringify({
    available: await metadata.isAvailable(),
    project: await auth.getProjectId(),
    email: (await auth.getCredentials()).client_email,
    caller: called.data.caller,
    api: asked.data.caller,
  }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
