// Runs our implementation and the others on one file, in turn, and prints one table: node table.js OURS FILE ROUNDS.
// OURS is the program of crates/blob/examples/reference.rs. References that differ end it with status 1.
'use strict'

const { execFileSync } = require('node:child_process')
const { statSync } = require('node:fs')
const path = require('node:path')

const [ours, file, rounds] = process.argv.slice(2)
const other = name => ({ name: `${name} ${version(name)}`, command: [process.execPath, path.join(__dirname, 'reference.js'), bare(name), file] })
const bare = name => name.split('/').at(-1)
// Read as a file: a package need not export its package.json.
const version = name => require(path.join(__dirname, 'node_modules', name, 'package.json')).version
const ways = [{ name: 'Manyhands', command: [ours, file] }, other('@fairdatasociety/bmt-js'), other('@ethersphere/bee-js')]

const results = ways.map(() => [])
for (let round = 0; round < Number(rounds); round++) {
  ways.forEach(({ command: [program, ...words] }, way) => {
    results[way].push(JSON.parse(execFileSync(program, words, { encoding: 'utf8' })))
  })
}

const references = new Set(results.flat().map(result => result.reference))
if (references.size !== 1) {
  console.error('the references differ:', results.map((all, way) => [ways[way].name, all[0].reference]))
  process.exit(1)
}

const median = values => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]
const megabytes = statSync(file).size / 1e6
console.log(`All references are ${[...references][0]}. Medians of ${rounds} rounds; ratios are of seconds within a round.\n`)
console.log('| implementation | MB/s | MB per second on cores | our speed is so many times its, by the wall | on cores |')
console.log('|---|---|---|---|---|')
results.forEach((all, way) => {
  const speed = key => (megabytes / median(all.map(result => result[key]))).toFixed(1)
  const ratio = key => median(all.map((result, round) => result[key] / results[0][round][key])).toFixed(1)
  const cells = [ways[way].name, speed('seconds'), speed('secondsOnCores'), ratio('seconds'), ratio('secondsOnCores')]
  console.log(`| ${cells.join(' | ')} |`)
})
