// Drives the unmodified bee-js, which nobody here wrote, through every call that it makes to a node and that this store has.
// Run by tests/bee_js.rs: `node --test suite.cjs`, with the address in BEE_URL and Swarm's vectors in VECTORS.
const assert = require('node:assert/strict')
const { readFileSync, mkdtempSync, mkdirSync, writeFileSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { test } = require('node:test')
const { Bee, BeeResponseError, MantarayNode, MerkleTree, PrivateKey, Identifier, Duration, Size } = require('@ethersphere/bee-js')

const url = process.env.BEE_URL
const bee = new Bee(url)
const vectors = JSON.parse(readFileSync(process.env.VECTORS, 'utf8'))
const level0 = { headers: { 'swarm-redundancy-level': '0' } }

/** The bytes of the vectors: byte i is i mod 251. */
const pattern = size => Uint8Array.from({ length: size }, (_, i) => i % 251)
/** Bytes without a pattern, the same in every run (xorshift32). */
const noise = (size, seed = 1) => {
  let state = seed
  return Uint8Array.from({ length: size }, () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state & 0xff
  })
}
const same = (found, wanted) => assert.ok(Buffer.from(found).equals(Buffer.from(wanted)), 'other bytes came back')
const refused = (promise, status, message) =>
  assert.rejects(promise, error => {
    assert.ok(error instanceof BeeResponseError, String(error))
    assert.equal(error.status, status)
    const body = error.responseBody
    assert.match(Buffer.isBuffer(body) ? body.toString() : JSON.stringify(body), message)
    return true
  })

let batch
test('a batch is bought, found, topped up and diluted', async () => {
  const before = await bee.getPostageBatches()
  assert.equal(before.length, 1, 'one is there from the start')
  batch = await bee.createPostageBatch('1000000000', 20, { label: 'suite', waitForUsable: true })
  const bought = await bee.getPostageBatch(batch)
  assert.equal(bought.label, 'suite')
  assert.equal(bought.depth, 20)
  assert.equal(bought.usable, true)
  assert.equal(bought.amount, '1000000000')
  assert.equal(bought.immutableFlag, true)
  const life = bought.duration.toSeconds()
  assert.ok(Math.abs(life - (1000000000 / 24000) * 5) < 60, `${life} s`)
  await bee.topUpBatch(batch, '1000000000')
  assert.ok(Math.abs((await bee.getPostageBatch(batch)).duration.toSeconds() - 2 * life) < 60)
  await bee.diluteBatch(batch, 21)
  const deeper = await bee.getPostageBatch(batch)
  assert.equal(deeper.depth, 21)
  assert.ok(Math.abs(deeper.duration.toSeconds() - life) < 60)
  assert.equal((await bee.getPostageBatches()).length, 2)
  const stored = await bee.buyStorage(Size.fromGigabytes(1), Duration.fromDays(2))
  assert.ok((await bee.getPostageBatch(stored)).usable)
  await assert.rejects(bee.createPostageBatch('1000', 20), /at least 414720001/)
  await refused(bee.getPostageBatch('12'.repeat(32)), 404, /issuer does not exist/)
})

test('the node says what it is', async () => {
  await bee.checkConnection()
  assert.equal(await bee.isConnected(), true)
  assert.equal(await bee.isGateway(), false)
  assert.equal((await bee.getHealth()).status, 'ok')
  assert.equal((await bee.getReadiness()).status, 'ready')
  assert.equal((await bee.getNodeInfo()).beeMode, 'dev')
  assert.equal(String((await bee.getChainState()).currentPrice), '24000')
  assert.match((await bee.getVersions()).beeVersion, /^2\.8\.1-manyhands/)
  await refused(bee.getNodeAddresses(), 501, /service of a node of the Swarm network/)
})

test('references are those of the vectors at every level', async () => {
  for (const row of vectors.mod251.filter(row => row.size <= 3_000_000)) {
    const data = pattern(row.size)
    const plain = await bee.uploadData(batch, data)
    assert.equal(plain.reference.toHex(), row.reference, `${row.size} bytes`)
    for (const level of [1, 2, 3, 4]) {
      const { reference } = await bee.uploadData(batch, data, { redundancyLevel: level })
      assert.equal(reference.toHex(), row.redundancy_references[level], `${row.size} bytes at level ${level}`)
      if (row.size <= 530_000) same((await bee.downloadData(reference)).toUint8Array(), data)
    }
    same((await bee.downloadData(plain.reference)).toUint8Array(), data)
  }
})

test('references are those of bee-js itself in cases without a vector', async () => {
  for (const size of [4095, 8191, 8193, 524_287, 530_001, 1_048_577]) {
    const data = noise(size, size)
    const { reference } = await bee.uploadData(batch, data, undefined, level0)
    assert.equal(reference.toHex(), Buffer.from((await MerkleTree.root(data)).hash()).toString('hex'), `${size} bytes`)
  }
})

test('encrypted bytes come back to who has the key', async () => {
  const data = noise(300_000, 7)
  const { reference } = await bee.uploadData(batch, data, { encrypt: true })
  assert.equal(reference.toHex().length, 128)
  const again = await bee.uploadData(batch, data, { encrypt: true })
  assert.notEqual(again.reference.toHex(), reference.toHex())
  same((await bee.downloadData(reference)).toUint8Array(), data)
  await assert.rejects(bee.downloadData(reference.toHex().slice(0, 64)))
})

test('streams, probes and ranges', async () => {
  const data = noise(700_000, 9)
  const { reference } = await bee.uploadData(batch, data)
  const stream = await bee.downloadReadableData(reference)
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  same(Buffer.concat(pieces), data)
  assert.equal((await bee.probeData(reference)).contentLength, data.length)
  for (const [range, from, to] of [['bytes=0-0', 0, 1], ['bytes=530000-530999', 530_000, 531_000], ['bytes=-5', 699_995, 700_000]]) {
    const answer = await fetch(`${url}/bytes/${reference}`, { headers: { range } })
    assert.equal(answer.status, 206)
    assert.equal(answer.headers.get('content-range'), `bytes ${from}-${to - 1}/700000`)
    same(new Uint8Array(await answer.arrayBuffer()), data.slice(from, to))
  }
  const beyond = await fetch(`${url}/bytes/${reference}`, { headers: { range: 'bytes=700000-' } })
  assert.equal(beyond.status, 416)
  const known = await fetch(`${url}/v1/bytes/${reference}`, { headers: { 'if-none-match': `"${reference}"` } })
  assert.equal(known.status, 304)
})

test('single chunks, with and without an owner', async () => {
  const chunk = bee.makeContentAddressedChunk(noise(1000, 3))
  const { reference } = await bee.uploadChunk(batch, chunk)
  assert.equal(reference.toHex(), chunk.address.toHex())
  same((await bee.downloadChunk(reference)).slice(8), chunk.payload.toUint8Array())
  const signer = new PrivateKey('11'.repeat(32))
  const full = bee.makeContentAddressedChunk(noise(4096, 4))
  const owned = full.toSingleOwnerChunk(new Identifier('22'.repeat(32)), signer)
  const answer = await fetch(`${url}/chunks`, { method: 'POST', headers: { 'swarm-postage-batch-id': batch.toHex() }, body: owned.data })
  assert.deepEqual([answer.status, (await answer.json()).reference], [201, owned.address.toHex()])
  same(await bee.downloadChunk(owned.address), owned.data)
  const writer = bee.makeSOCWriter(signer)
  const written = await writer.upload(batch, new Identifier('33'.repeat(32)), noise(500, 6))
  const found = await bee.makeSOCReader(signer.publicKey().address()).download(new Identifier('33'.repeat(32)))
  assert.equal(found.address.toHex(), written.reference.toHex())
  same(found.payload.toUint8Array(), noise(500, 6))
  await refused(bee.downloadChunk('34'.repeat(32)), 404, /chunk not found/)
})

test('a file keeps its name and its type', async () => {
  const data = noise(10_000, 5)
  const { reference, tagUid } = await bee.uploadFile(batch, data, 'a file.bin', { contentType: 'application/x-thing' })
  assert.ok(tagUid > 0)
  const file = await bee.downloadFile(reference)
  assert.equal(file.name, 'a file.bin')
  assert.equal(file.contentType, 'application/x-thing')
  same(file.data.toUint8Array(), data)
  const streamed = await bee.downloadReadableFile(reference)
  const pieces = []
  for await (const piece of streamed.data) pieces.push(piece)
  same(Buffer.concat(pieces), data)
  const sealed = await bee.uploadFile(batch, data, 'sealed', { encrypt: true, contentType: 'text/plain' })
  assert.equal(sealed.reference.toHex().length, 128)
  same((await bee.downloadFile(sealed.reference)).data.toUint8Array(), data)
})

const folder = () => {
  const dir = mkdtempSync(join(tmpdir(), 'suite-'))
  mkdirSync(join(dir, 'img'))
  writeFileSync(join(dir, 'index.html'), '<h1>Swarm</h1>')
  writeFileSync(join(dir, 'error.html'), '<h2>404</h2>')
  writeFileSync(join(dir, 'img', '1.png'), noise(5000, 1))
  writeFileSync(join(dir, 'img', 'a very long name that does not fit into one fork.png'), noise(5000, 2))
  return dir
}

test('folders, sent as a tar, and chunk by chunk with the manifest made by bee-js', async () => {
  const dir = folder()
  const site = { indexDocument: 'index.html', errorDocument: 'error.html' }
  const { reference } = await bee.uploadFilesFromDirectory(batch, dir, site, level0)
  const text = async path => (await bee.downloadFile(reference, path)).data.toUtf8()
  assert.equal(await text(''), '<h1>Swarm</h1>')
  assert.equal(await text('index.html'), '<h1>Swarm</h1>')
  assert.equal(await text('nowhere'), '<h2>404</h2>')
  same((await bee.downloadFile(reference, 'img/1.png')).data.toUint8Array(), noise(5000, 1))
  const slash = await fetch(`${url}/bzz/${reference}/img`, { redirect: 'manual' })
  assert.equal(slash.status, 308)
  assert.equal(new URL(slash.headers.get('location'), slash.url).pathname, `/bzz/${reference}/img/`)

  const manifest = await MantarayNode.unmarshal(bee, reference)
  await manifest.loadRecursively(bee)
  const paths = manifest.collect().map(node => node.fullPathString).sort()
  assert.deepEqual(paths.filter(path => path !== '/'), ['error.html', 'img/1.png', 'img/a very long name that does not fit into one fork.png', 'index.html'])

  const streamed = await bee.streamDirectory(batch, dir, undefined, undefined, level0)
  assert.equal((await bee.downloadFile(streamed.reference, 'index.html')).data.toUtf8(), '<h1>Swarm</h1>')
  same((await bee.downloadFile(streamed.reference, 'img/1.png')).data.toUint8Array(), noise(5000, 1))
  await refused(bee.downloadFile(streamed.reference, 'nowhere'), 404, /path address not found/)
})

test('pins outlive everything, and manifests are pinned as a whole', async () => {
  const { reference } = await bee.uploadData(batch, noise(200_000, 11))
  await bee.pin(reference)
  await bee.pin(reference)
  assert.equal((await bee.getPin(reference)).reference.toHex(), reference.toHex())
  const site = await bee.uploadFilesFromDirectory(batch, folder(), { pin: true, indexDocument: 'index.html' })
  const pins = (await bee.getAllPins()).map(pin => pin.toHex())
  assert.deepEqual(pins.sort(), [reference.toHex(), site.reference.toHex()].sort())
  await bee.unpin(reference)
  await refused(bee.unpin(reference), 404, /Not Found/)
  await refused(bee.getPin(reference), 404, /Not Found/)
  await refused(bee.pin('56'.repeat(32)), 404, /pin collection failed/)
  await bee.unpin(site.reference)
  assert.equal((await bee.getAllPins()).length, 0)
})

test('tags are full at once', async () => {
  const tag = await bee.createTag()
  await bee.uploadData(batch, noise(200_000, 12), { tag: tag.uid }, level0)
  const full = await bee.retrieveTag(tag.uid)
  assert.deepEqual([full.split, full.synced, full.seen], [50, 50, 0])
  assert.ok((await bee.getAllTags({ limit: 1000, offset: 0 })).some(other => other.uid === tag.uid))
  await bee.updateTag(tag.uid, '78'.repeat(32))
  await bee.deleteTag(tag.uid)
  await refused(bee.retrieveTag(tag.uid), 404, /tag not present/)
  await refused(bee.uploadData(batch, noise(10), { tag: tag.uid }), 404, /tag not found/)
})

test('stewardship looks at everything', async () => {
  const { reference } = await bee.uploadData(batch, noise(200_000, 13))
  assert.equal(await bee.isReferenceRetrievable(reference), true)
  assert.equal(await bee.isReferenceRetrievable('9a'.repeat(32)), false)
  await bee.reuploadPinnedData(batch, reference)
  await refused(bee.reuploadPinnedData(batch, '9a'.repeat(32)), 404, /not found/)
})

test('refusals are those of a Bee', async () => {
  await refused(bee.uploadData('bc'.repeat(32), noise(10)), 404, /batch with id not found/)
  await refused(bee.downloadData('de'.repeat(32)), 404, /Not Found/)
  const post = (path, headers, body = 'x') => fetch(`${url}${path}`, { method: 'POST', headers, body })
  const missing = await post('/bytes', {})
  assert.equal(missing.status, 400)
  assert.deepEqual(await missing.json(), {
    code: 400,
    message: 'invalid header params',
    reasons: [{ field: 'swarm-postage-batch-id', error: 'want required:' }],
  })
  const id = { 'swarm-postage-batch-id': batch.toHex() }
  assert.equal((await post('/chunks', id, '1234567')).status, 400)
  assert.equal((await post('/chunks', id, Buffer.alloc(4202))).status, 413)
  assert.equal((await post('/bytes', { ...id, 'swarm-redundancy-level': '7' })).status, 400)
  assert.equal((await post('/bzz', { ...id, 'swarm-collection': 'true', 'content-type': 'text/plain' })).status, 400)
  assert.equal((await post('/bzz', { ...id, 'swarm-collection': 'true', 'content-type': 'application/x-tar' }, 'no tar')).status, 400)
  assert.equal((await fetch(`${url}/bytes/xyz`)).status, 400)
  assert.equal((await fetch(`${url}/nowhere`)).status, 404)
  assert.equal((await fetch(`${url}/tags`, { method: 'PUT' })).status, 405)
  assert.equal((await post('/bytes', { ...id, origin: 'http://evil.example' })).status, 403)
})
