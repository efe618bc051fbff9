// Rows about the size of what one platform installs.
import { bound } from '../report.mjs';

const mebibyte = 2 ** 20;

export function sizeRows({ packed, unpacked }) {
  const what = 'package for one platform';
  const method = 'main and platform package: addon, `stvor` binary, JavaScript, types and sources, from a release build';
  return [
    bound({ what: `${what}, packed`, ours: packed / mebibyte, most: 6, unit: 'MiB', method: `tarballs of ${method}` }),
    bound({ what: `${what}, unpacked`, ours: unpacked / mebibyte, most: 12, unit: 'MiB', method: `files of ${method}` }),
  ];
}
