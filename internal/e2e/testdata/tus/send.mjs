// Sends one file with the protocol's own client, and prints what came of it as
// one line of JSON: {"url", "requests": [[method, status, offset], …], "error"}.
// The order is one JSON object in argv[2]: endpoint, token, file, document, and
// of the rest what is asked for.
import * as fs from 'node:fs'
import * as crypto from 'node:crypto'
import * as tus from 'tus-js-client'

const order = JSON.parse(process.argv[2])
const requests = []
let sums = order.damaged ?? 0

function end(upload, error) {
  const status = error?.originalResponse?.getStatus() ?? 0
  console.log(JSON.stringify({ url: upload.url, requests, error: error ? String(error) : '', status }))
  process.exit(0)
}

const upload = new tus.Upload(fs.createReadStream(order.file), {
  endpoint: order.endpoint,
  uploadUrl: order.url ?? null,
  uploadSize: fs.statSync(order.file).size,
  chunkSize: order.chunk ?? Infinity,
  uploadDataDuringCreation: order.withCreation ?? false,
  overridePatchMethod: order.override ?? false,
  retryDelays: order.retries ?? null,
  removeFingerprintOnSuccess: true,
  storeFingerprintForResuming: false,
  headers: { Authorization: `Bearer ${order.token}` },
  metadata: { document: order.document, type: 'document', filename: '../../Größe.png' },
  onBeforeRequest(req) {
    if (!order.checksum || req.getMethod() !== 'PATCH') return
    const sum = crypto.createHash(order.checksum).update(fs.readFileSync(order.file)).digest()
    if (sums-- > 0) sum[0] ^= 1
    req.setHeader('Upload-Checksum', `${order.checksum} ${sum.toString('base64')}`)
  },
  onAfterResponse(req, res) {
    requests.push([req.getMethod(), res.getStatus(), Number(res.getHeader('Upload-Offset') ?? -1)])
  },
  onChunkComplete(_size, accepted) {
    if (order.stopAt && accepted >= order.stopAt) upload.abort().then(() => end(upload))
  },
  onSuccess: () => end(upload),
  onError: (error) => end(upload, error),
})
upload.start()
