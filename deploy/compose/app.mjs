// The same in Node. Its http module asks for the proxy explicitly; axios, undici's EnvHttpProxyAgent and, with
// NODE_USE_ENV_PROXY=1, newer versions of Node itself read HTTP_PROXY on their own.
import http from 'node:http';

const proxy = new URL(process.env.HTTP_PROXY);

function get(url) {
  return new Promise((resolve, reject) => {
    const request = { host: proxy.hostname, port: proxy.port, path: url, headers: { host: new URL(url).host } };
    http.get(request, async (answer) => {
      let body = '';
      for await (const chunk of answer) body += chunk;
      answer.statusCode === 200 ? resolve(JSON.parse(body)) : reject(new Error(`${url}: ${answer.statusCode} ${body}`));
    }).on('error', reject);
  });
}

for (const url of ['http://user-profiles-x7f3kq-uc.a.run.app/42', 'http://billing-x7f3kq-uc.a.run.app/invoices']) {
  const told = await get(url);
  console.log(`${told.service} knows ${told.caller}`);
}
