// A gRPC server, or a client that makes the calls it is told to, on the package `@grpc/grpc-js`.
// Messages are bytes, and no compiler of protocols is needed.
//
//   node grpc.mjs server [CERTIFICATE KEY]
//   node grpc.mjs client ADDRESS [AUTHORITY]
//
// With files they speak TLS; the client asks for `api.test`.
import fs from 'node:fs'
import grpc from '@grpc/grpc-js'
import { listen, tell } from './lines.mjs'

const [role, ...settings] = process.argv.slice(2)

const method = (name, requestStream, responseStream) => ({
  path: `/rpc.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: (bytes) => bytes,
  requestDeserialize: (bytes) => bytes,
  responseSerialize: (bytes) => bytes,
  responseDeserialize: (bytes) => bytes,
})
const service = {
  unary: method('Unary', false, false),
  refuse: method('Refuse', false, false),
  collect: method('Collect', true, false),
  count: method('Count', false, true),
  chat: method('Chat', true, true),
  hang: method('Hang', false, true),
}
const limits = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 }

// What a message is: its text, or when long how many bytes and their sum.
const content = (bytes) =>
  bytes.length < 1000
    ? { text: bytes.toString() }
    : { bytes: bytes.length, sum: bytes.reduce((sum, byte) => (sum + byte) % 65521, 0) }
// Metadata as an object; bytes in base64.
const fields = (metadata) =>
  Object.fromEntries(
    metadata.toHttp2Headers
      ? Object.entries(metadata.toHttp2Headers()).map(([name, values]) => [name, [values].flat().join()])
      : [],
  )

function trailers() {
  const metadata = new grpc.Metadata()
  metadata.set('x-text', 'plain')
  metadata.set('x-data-bin', Buffer.from([0, 255, 10, 13, 128]))
  return metadata
}

function server() {
  const server = new grpc.Server(limits)
  const called = (name, call) => {
    const left = call.getDeadline() === Infinity ? null : call.getDeadline() - Date.now()
    tell({ called: name, metadata: fields(call.metadata), left })
    call.on('cancelled', () => tell({ cancelled: name }))
  }
  server.addService(service, {
    unary(call, callback) {
      called('unary', call)
      const initial = new grpc.Metadata()
      initial.set('x-initial', 'first')
      call.sendMetadata(initial)
      callback(null, call.request, trailers())
    },
    refuse(call, callback) {
      called('refuse', call)
      callback({ code: 9, details: 'not 100 % grün', metadata: trailers() })
    },
    collect(call, callback) {
      called('collect', call)
      const parts = []
      call.on('data', (bytes) => parts.push(bytes.toString()))
      call.on('end', () => callback(null, Buffer.from(parts.join())))
    },
    count(call) {
      called('count', call)
      for (let n = 1; n <= Number(call.request.toString()); n++) call.write(Buffer.from(`${n}`))
      call.end(trailers())
    },
    chat(call) {
      called('chat', call)
      call.on('data', (bytes) => call.write(bytes))
      call.on('end', () => call.end(trailers()))
    },
    hang(call) {
      called('hang', call)
      call.write(Buffer.from('waiting'))
    },
  })
  const [certificate, key] = settings.map((path) => fs.readFileSync(path))
  const credentials = key
    ? grpc.ServerCredentials.createSsl(null, [{ cert_chain: certificate, private_key: key }])
    : grpc.ServerCredentials.createInsecure()
  server.bindAsync('127.0.0.1:0', credentials, (error, port) =>
    tell({ listening: port }),
  )
  listen(() => {})
}

function client() {
  const Client = grpc.makeGenericClientConstructor(service, 'Echo')
  const options = { ...limits, 'grpc.default_authority': 'api.test' }
  const [address, authority] = settings
  const credentials = authority
    ? grpc.credentials.createSsl(fs.readFileSync(authority))
    : grpc.credentials.createInsecure()
  const named = authority ? { 'grpc.ssl_target_name_override': 'api.test' } : {}
  const client = new Client(address, credentials, { ...options, ...named })
  const calls = {}
  const make = ({ id, call: name, text, bytes, metadata, deadline }) => {
    const headers = new grpc.Metadata()
    for (const [field, value] of Object.entries(metadata ?? {})) {
      headers.set(field, field.endsWith('-bin') ? Buffer.from(value, 'base64') : value)
    }
    const message = Buffer.alloc(bytes ?? 0, 7)
    const request = text === undefined ? message : Buffer.from(text)
    const settings = deadline ? { deadline: Date.now() + deadline } : {}
    const { requestStream, responseStream } = service[name]
    const done = (error, answer) => answer && tell({ id, message: content(answer) })
    const parts = [...(requestStream ? [] : [request]), headers, settings]
    const call = client[name](...parts, ...(responseStream ? [] : [done]))
    calls[id] = call
    call.on('metadata', (metadata) => tell({ id, initial: fields(metadata) }))
    if (responseStream) call.on('data', (answer) => tell({ id, message: content(answer) }))
    call.on('error', () => {})
    call.on('status', ({ code, details, metadata }) =>
      tell({ id, status: code, details, trailers: fields(metadata) }),
    )
  }
  listen((command) => {
    const { id, call, write, end, cancel } = command
    if (call) make(command)
    if (write !== undefined) calls[id].write(Buffer.from(write))
    if (end) calls[id].end()
    if (cancel) calls[id].cancel()
  })
}

role === 'server' ? server() : client()
