// A real OAuth 2.0 server for the tests: oidc-provider with Dynamic Client Registration, on a free
// port of the loopback interface. The first line on stdout is JSON: where it is, and where a test
// controls it. It ends when its stdin does, so that no test leaves one behind.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import http from 'node:http';
import Provider, { errors } from 'oidc-provider';

// Nobody reads stdout after its first line, where the provider's notices would go.
console.info = console.error;

const HOST = '127.0.0.1';
// The resource that a token request names decides the kind of token (RFC 8707).
const FORMATS = { 'https://api.test/jwt': 'jwt', 'https://api.test/opaque': 'opaque' };
const SCOPES = 'read write';

// Kept apart from the provider, which a rotation makes anew.
const store = new Map();

class Adapter {
  constructor(model) { this.model = model; }

  #name(id) { return `${this.model}/${id}`; }

  #first(matches) {
    const prefix = this.#name('');
    for (const [name, entry] of store) {
      if (name.startsWith(prefix) && matches(entry.payload)) return entry.payload;
    }
    return undefined;
  }

  async upsert(id, payload, seconds) {
    const end = seconds === undefined ? Infinity : Date.now() + 1000 * seconds;
    store.set(this.#name(id), { payload, end });
  }

  async find(id) {
    const entry = store.get(this.#name(id));
    return entry !== undefined && Date.now() < entry.end ? entry.payload : undefined;
  }

  async findByUid(uid) { return this.#first((payload) => payload.uid === uid); }

  async findByUserCode(code) { return this.#first((payload) => payload.userCode === code); }

  async consume(id) {
    const payload = await this.find(id);
    if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) { store.delete(this.#name(id)); }

  async revokeByGrantId(grant) {
    for (const [name, entry] of store) if (entry.payload.grantId === grant) store.delete(name);
  }
}

function makeKey(alg) {
  const pair = alg === 'ES256'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...pair.privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID() };
}

// Published all; the first one signs. An RS256 key must always be there for the provider itself.
let keys = [makeKey('RS256')];
let tokenSeconds = 300;
let registrationIsOpen = false;
let renewsTokens = false;
let issuer;
let answer;
let hits = {};

// Who signs in next, with the claims that are told of them.
let person = { sub: 'nobody' };

function build() {
  const provider = new Provider(issuer, {
    adapter: Adapter,
    jwks: { keys },
    scopes: ['openid', ...SCOPES.split(' ')],
    ttl: { ClientCredentials: tokenSeconds, InitialAccessToken: 600, RegistrationAccessToken: 600 },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post'],
    cookies: { keys: [randomUUID()] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    findAccount: (_ctx, accountId) => ({ accountId, claims: async () => ({ ...person, sub: accountId }) }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      registration: { enabled: true, initialAccessToken: !registrationIsOpen },
      registrationManagement: { enabled: true, rotateRegistrationAccessToken: renewsTokens },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_ctx, _client, asked) => asked ?? Object.keys(FORMATS)[0],
        getResourceServerInfo(_ctx, resource) {
          if (!(resource in FORMATS)) throw new errors.InvalidTarget();
          return {
            audience: resource,
            scope: SCOPES,
            accessTokenTTL: tokenSeconds,
            accessTokenFormat: FORMATS[resource],
            jwt: { sign: { alg: keys[0].alg, kid: keys[0].kid } },
          };
        },
      },
    },
  });
  provider.on('server_error', (_ctx, error) => console.error(error));
  answer = provider.callback();
  return provider;
}

// Whoever is asked to sign in does so, and agrees to everything.
async function interact(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    const result = { login: { accountId: person.sub } };
    return provider.interactionFinished(request, response, result);
  }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

const server = http.createServer((request, response) => {
  const path = request.url.split('?')[0];
  hits[path] = (hits[path] ?? 0) + 1;
  if (path.startsWith('/interaction/')) {
    interact(request, response).catch((error) => {
      console.error(error);
      response.writeHead(500).end();
    });
    return;
  }
  answer(request, response);
});
const listen = (port) => new Promise((done) => { server.listen(port, HOST, done); });
await listen(0);
const { port } = server.address();
issuer = `http://${HOST}:${port}`;
let provider = build();

const levers = {
  '/initial-access-token': async () => ({ token: await new provider.InitialAccessToken({}).save() }),
  '/hits': async () => hits,
  // Who signs in from now on: `claims`, as JSON.
  '/person': async (query) => {
    person = JSON.parse(query.get('claims'));
    return {};
  },
  // A new key that signs; `drop` unpublishes all the others.
  '/rotate': async (query) => {
    const kept = query.has('drop') ? [] : keys;
    keys = [makeKey(query.get('alg')), ...kept];
    if (!keys.some((key) => key.alg === 'RS256')) keys.push(makeKey('RS256'));
    provider = build();
    return {};
  },
  // An update gives the client another registration access token from now on.
  '/renew-tokens': async () => {
    renewsTokens = true;
    provider = build();
    return {};
  },
  '/stop': async () => {
    const closed = new Promise((done) => { server.close(done); });
    server.closeAllConnections();
    await closed;
    return {};
  },
  // `seconds`: life of tokens. `initial`, empty: registration needs no initial access token.
  '/start': async (query) => {
    if (query.has('seconds')) tokenSeconds = Number(query.get('seconds'));
    if (query.has('initial')) registrationIsOpen = true;
    provider = build();
    await listen(port);
    return {};
  },
};

const control = http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://control');
  const body = await levers[url.pathname]?.(url.searchParams);
  response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body ?? {}));
});
control.listen(0, HOST, () => {
  console.log(JSON.stringify({ issuer, control: `http://${HOST}:${control.address().port}` }));
});
process.stdin.on('end', () => process.exit(0)).resume();
