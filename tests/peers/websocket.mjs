// A WebSocket server that echoes, or a client that does what it is told, on the package `ws`.
//
//   node websocket.mjs server
//   node websocket.mjs client URL HEADERS
import { WebSocket, WebSocketServer } from 'ws'
import { listen, tell } from './lines.mjs'

const [role, url, headers] = process.argv.slice(2)

// What a message was: its text, or for bytes how many and their sum.
const content = (data, isBinary) =>
  isBinary
    ? { bytes: data.length, sum: data.reduce((sum, byte) => (sum + byte) % 65521, 0) }
    : { text: data.toString() }

function server() {
  const server = new WebSocketServer({
    host: '127.0.0.1',
    port: 0,
    handleProtocols: (offered) => (offered.has('chat') ? 'chat' : false),
    perMessageDeflate: true,
  })
  const clients = []
  server.on('listening', () => tell({ listening: server.address().port }))
  server.on('connection', (socket, request) => {
    clients.push(socket)
    tell({ opened: request.url, headers: request.headers })
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
    socket.on('ping', (data) => tell({ ping: data.toString() }))
    socket.on('close', (code, reason) => tell({ closed: code, reason: reason.toString() }))
    socket.on('error', () => {})
  })
  // Speaks first, to everybody.
  listen(({ text, close }) => {
    for (const socket of clients) close ? socket.close(close, 'server') : socket.send(text)
  })
}

function client() {
  const socket = new WebSocket(url, 'chat', { headers: JSON.parse(headers), perMessageDeflate: true })
  socket.on('open', () => tell({ open: socket.protocol, extensions: socket.extensions }))
  socket.on('message', (data, isBinary) => tell({ message: content(data, isBinary) }))
  socket.on('pong', (data) => tell({ pong: data.toString() }))
  socket.on('close', (code, reason) => tell({ closed: code, reason: reason.toString() }))
  socket.on('unexpected-response', (_, response) => {
    tell({ refused: response.statusCode })
    socket.terminate()
  })
  socket.on('error', () => {})
  listen(({ text, bytes, ping, close, reason }) => {
    if (text !== undefined) socket.send(text)
    if (bytes !== undefined) socket.send(Buffer.from(Array.from({ length: bytes }, (_, i) => i % 251)))
    if (ping !== undefined) socket.ping(ping)
    if (close !== undefined) socket.close(close, reason)
  })
}

role === 'server' ? server() : client()
