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

  // frames: [{ header, payload }], header as FrameHeader without key, payload an array of Buffers.
  // Yields { index, header, payload } as frames finish; a frame that fails yields { index, error }.
  async *matte(frames) {
    const stream = this.stub.Matte(this.metadata);
    const open = new Map(frames.map((frame, index) => [`node-${index}`, { index, chunks: [] }]));
    const sending = send(stream, frames).catch((error) => stream.destroy(error));
    for await (const message of stream) {
      const done = receive(open, message);
      if (done) yield done;
      if (open.size === 0) stream.end();
    }
    await sending;
    if (open.size) throw new Error(`the server ended the stream with ${open.size} frames unanswered`);
  }

  close() {
    this.stub.close();
  }
}

// Headers first, then one chunk of each frame in turn, so that all of them are in flight together.
async function send(stream, frames) {
  const parts = frames.map((frame, index) => messages(`node-${index}`, frame));
  while (parts.length) {
    for (const part of [...parts]) {
      const { value, done } = part.next();
      if (done) parts.splice(parts.indexOf(part), 1);
      // False: the transport is full; it says when there is room again.
      else if (!stream.write(value)) await new Promise((resolve) => stream.once('drain', resolve));
    }
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
