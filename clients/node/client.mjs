// A client made of the .proto and nothing else: what any program in any language can do.
//
// Frames of one call travel interleaved over one stream and come back as they finish.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const PROTO = 'fbamatte/rpc/v1/matting.proto';
const FOLDER = fileURLToPath(new URL('../../proto', import.meta.url));
// The most that one chunk may carry.
export const CHUNK_BYTES = 1 << 20;

const { fbamatte } = grpc.loadPackageDefinition(
  loader.loadSync(PROTO, { includeDirs: [FOLDER], longs: Number, enums: String, defaults: true, oneofs: true }),
);

export class FrameFailure extends Error {
  constructor(error) {
    super(`${error.code}: ${error.message}`);
    this.code = error.code;
    this.key = error.key;
  }
}

export class MattingClient {
  // address: "host:port" or "unix:path". ca: PEM bytes, or undefined for no encryption. token: sent with every call.
  constructor(address, { token = '', ca } = {}) {
    const credentials = ca ? grpc.credentials.createSsl(ca) : grpc.credentials.createInsecure();
    this.metadata = new grpc.Metadata();
    if (token) this.metadata.set('authorization', `Bearer ${token}`);
    this.stub = new fbamatte.rpc.v1.Matting(address, credentials);
  }

  listModels() {
    return new Promise((resolve, reject) => {
      this.stub.ListModels({}, this.metadata, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  // frames: any iterable of { header, payload }, header as FrameHeader without key, payload an array of Buffers.
  // Read as they are needed: no more than `window` are in flight, so that memory stays flat for endless ones.
  // Yields { index, header, payload } as frames finish; a frame that fails yields { index, error }.
  async *matte(frames, { window = 4 } = {}) {
    const stream = this.stub.Matte(this.metadata);
    const open = new Map();
    const room = { freed: () => {} };
    const sending = send(stream, frames, open, window, room).catch((error) => stream.destroy(error));
    try {
      for await (const message of stream) {
        const done = receive(open, message);
        if (!done) continue;
        room.freed();
        yield done;
      }
      await sending;
    } finally {
      // Also where the caller leaves its loop early.
      stream.cancel();
    }
    if (open.size) throw new Error(`the server ended the stream with ${open.size} frames unanswered`);
  }

  close() {
    this.stub.close();
  }
}

// Frames go side by side, their chunks interleaved; then the half-close, upon which the server ends the stream.
async function send(stream, frames, open, window, room) {
  const writing = [];
  let index = 0;
  for await (const frame of frames) {
    while (open.size >= window) await new Promise((resolve) => { room.freed = resolve; });
    const key = `node-${index}`;
    open.set(key, { index, chunks: [] });
    writing[index % window] = write(stream, messages(key, frame), writing[index % window]);
    index += 1;
  }
  await Promise.all(writing);
  stream.end();
}

async function write(stream, parts, before) {
  await before;
  for (const part of parts) {
    // False: the transport is full; it says when there is room again.
    if (!stream.write(part)) await new Promise((resolve) => stream.once('drain', resolve));
  }
}

function* messages(key, { header, payload }) {
  yield { header: { ...header, key } };
  for (const buffer of payload) {
    for (let at = 0; at < buffer.length; at += CHUNK_BYTES) {
      yield { chunk: { key, data: buffer.subarray(at, at + CHUNK_BYTES) } };
    }
  }
  yield { end: { key } };
}

function receive(open, message) {
  const body = message[message.kind];
  const frame = open.get(body?.key);
  if (!frame) return undefined;
  if (message.kind === 'header') frame.header = body;
  if (message.kind === 'chunk') frame.chunks.push(body.data);
  if (message.kind !== 'end' && message.kind !== 'error') return undefined;
  open.delete(body.key);
  if (message.kind === 'error') return { index: frame.index, error: new FrameFailure(body) };
  return { index: frame.index, header: frame.header, payload: Buffer.concat(frame.chunks) };
}

// A frame of EXR bytes, answered as EXR bytes.
export function exrFrame({ plate, trimap, number = 1, name = '', model = '', output = {} }) {
  const payload = [readFileSync(plate), ...(trimap ? [readFileSync(trimap)] : [])];
  const exr = { plateBytes: payload[0].length, trimapBytes: payload[1]?.length ?? 0 };
  return { header: { info: { number, name }, model, payload: 'PAYLOAD_KIND_EXR', exr, output }, payload };
}

// A frame of raw pixels: a file with the plate (R G B R G B …) and then the trimap, half or float.
export function planesFrame({ pixels, width, height, pixelType, number = 1, name = '', model = '', output = {} }) {
  const planes = ['PLANE_KIND_PLATE', 'PLANE_KIND_TRIMAP'].map((kind) => ({ kind, pixelType }));
  const header = { info: { number, name }, model, payload: 'PAYLOAD_KIND_PLANES', planes: { width, height, planes }, output };
  return { header, payload: [readFileSync(pixels)] };
}
