// A developer: the published client of Konnect's portal API does what it is told.
//
//   node developer.mjs URL
//
// A browser keeps the session's cookie and says which page sent a request; so does this, and nothing
// else is added to the client.
import axios from 'axios'
import * as sdk from '@kong/sdk-portal-js'
import { listen, tell } from './lines.mjs'

const [url] = process.argv.slice(2)

let cookie
const browser = axios.create({ validateStatus: () => true, proxy: false })
browser.interceptors.request.use((request) => {
  request.headers.set('Sec-Fetch-Site', 'same-origin')
  if (cookie) request.headers.set('Cookie', cookie)
  return request
})
browser.interceptors.response.use((response) => {
  for (const line of response.headers['set-cookie'] ?? []) {
    const [pair] = line.split(';')
    cookie = pair.endsWith('=') ? undefined : pair
  }
  return response
})

const configuration = new sdk.Configuration({ basePath: url })
listen(async ({ api, call, parameters }) => {
  const client = new sdk[api](configuration, url, browser)
  try {
    const { status, data } = await (parameters ? client[call](parameters) : client[call]())
    tell({ status, data })
  } catch (error) {
    tell({ status: 0, data: String(error) })
  }
})
