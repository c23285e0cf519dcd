#!/usr/bin/env node
// Mattes the frames that a JSON file lists, over one stream, and writes the answers.
//
//   node matte.mjs SERVER JOBS.json
//
// JOBS.json is a list of
//   { "plate": "plate.exr", "trimap": "trimap.exr", "number": 1001, "to": "matte.exr" }             EXR bytes
//   { "pixels": "in.raw", "width": 8, "height": 4, "pixelType": "PIXEL_TYPE_HALF", "to": "out.raw" }  raw planes
// each with "model" and "output" (fields of Output) if wanted. One JSON line per answer is printed. The token
// comes from FBAMATTE_TOKEN, the authority to trust from FBAMATTE_TLS_CA. Exit code 1: some frame failed.

import { readFileSync, writeFileSync } from 'node:fs';
import { MattingClient, exrFrame, planesFrame } from './client.mjs';

const [server, file] = process.argv.slice(2);
if (!file) {
  console.error('usage: node matte.mjs SERVER JOBS.json');
  process.exit(2);
}
const { FBAMATTE_TOKEN: token, FBAMATTE_TLS_CA: ca } = process.env;
const client = new MattingClient(server, { token, ca: ca && readFileSync(ca) });
const jobs = JSON.parse(readFileSync(file, 'utf8'));

// A generator: a file is read when its frame has its turn.
function* frames() {
  for (const job of jobs) yield job.pixels ? planesFrame(job) : exrFrame(job);
}

let failed = 0;
try {
  for await (const { index, header, payload, error } of client.matte(frames())) {
    const { to, number = 1 } = jobs[index];
    if (error) failed += 1;
    else writeFileSync(to, payload);
    const said = error ? { code: error.code, error: error.message } : { bytes: payload.length, planes: header.planes };
    console.log(JSON.stringify({ index, number, ...said, info: header?.info }));
  }
} catch (error) {
  console.error(`${server}: ${error.details ?? error.message}`);
  failed += 1;
} finally {
  client.close();
}
process.exitCode = failed ? 1 : 0;
