// The reference of one file as another implementation computes it, and what that took, as one line of JSON:
// node reference.js bmt-js|bee-js FILE. Reading the file and the first megabyte, in which the code gets compiled, are not counted.
'use strict'

const { readFileSync } = require('node:fs')

const hex = bytes => Buffer.from(bytes).toString('hex')
const implementations = {
  'bmt-js': () => {
    const { makeChunkedFile } = require('@fairdatasociety/bmt-js')
    return async bytes => hex(makeChunkedFile(bytes).address())
  },
  'bee-js': () => {
    const { MerkleTree } = require('@ethersphere/bee-js')
    return async bytes => hex((await MerkleTree.root(bytes)).hash())
  },
}

async function main([name, file]) {
  const referenceOf = implementations[name]()
  const bytes = new Uint8Array(readFileSync(file))
  await referenceOf(bytes.slice(0, 1 << 20))
  const [began, onCores] = [process.hrtime.bigint(), process.cpuUsage()]
  const reference = await referenceOf(bytes)
  const seconds = Number(process.hrtime.bigint() - began) / 1e9
  const { user, system } = process.cpuUsage(onCores)
  console.log(JSON.stringify({ reference, seconds, secondsOnCores: (user + system) / 1e6 }))
}

main(process.argv.slice(2)).catch(error => {
  console.error(error)
  process.exit(1)
})
