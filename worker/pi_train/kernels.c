/* The hot loops of `codecs.py`, `outer.py` and `proofs.py`, on integers only: no compiler or flag changes a bit.

   Compiled and called by `kernels.py`, with -fwrapv. Formats and rules are described in those files, whose
   numpy code gives the same results and serves where there is no compiler. `values` counts an update's values;
   a body is its file behind the header, and has the length that follows from codec, k and values: that is all
   that these functions trust. Whatever the bytes say, nothing outside the arrays is read or written. Places
   are worked on 4096 at a time, so that their int64 sums stay in a core's first-level cache. */

#include <stdint.h>
#include <string.h>

enum { SPARSE = 1, INT8, FIXED, DCT };
enum { SGD, NESTEROV, SIGN };
enum { BLOCK = 4096, TILE = 512, DENSE_CHUNK = 256, DCT_CHUNK = 1024, DCT_SIZE = 64 };
#define MOMENTUM_MAX (((int64_t)1 << 46) - 1)

typedef struct {
    int32_t codec, k;
    int64_t values;
    int32_t rank_bits;        /* of dct-topk, as the rest */
    const int32_t *basis;     /* [64][64] */
    const int64_t *binomials; /* [65][64]: binomial(i, j) at [j][i] */
} Format;

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t clip(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }
static int64_t divide_q16(int64_t x) { return (x + (1 << 15) + (x >> 63)) >> 16; }

static uint64_t read_u64(const uint8_t *at)
{
    uint64_t x;
    memcpy(&x, at, sizeof x);
    return __builtin_bswap64(x);
}

static int32_t read_i32(const uint8_t *at)
{
    uint32_t x;
    memcpy(&x, at, sizeof x);
    return (int32_t)__builtin_bswap32(x);
}

static int64_t step_of(const uint8_t *chunk)
{
    unsigned code = (unsigned)chunk[0] << 8 | chunk[1];
    return (int64_t)(code >> 5) << (code & 31);
}

static int is_step(const uint8_t *chunk, int64_t largest)
{
    unsigned code = (unsigned)chunk[0] << 8 | chunk[1];
    return ((code & 31) == 0 || code >> 5 >= 1024) && step_of(chunk) <= largest;
}

/* `count` < 64 bits from the bit `at` on, of a chunk of `bytes` bytes. */
static uint64_t bits_at(const uint8_t *chunk, int64_t bytes, int64_t at, int count)
{
    uint64_t x = 0;
    for (int64_t i = at >> 3; i <= (at + count - 1) >> 3 && i < bytes; i++) {
        int64_t behind = at + count - 8 * (i + 1); /* bits that are wanted of later bytes */
        uint64_t byte = i == at >> 3 ? chunk[i] & 0xFFu >> (at & 7) : chunk[i];
        x |= behind >= 0 ? byte << behind : byte >> -behind;
    }
    return x;
}

/* --- chunks: bytes of one, its weighted values onto `total`, its check -------------------------------------- */

static int64_t chunk_values(const Format *f)
{
    return f->codec == SPARSE ? BLOCK : f->codec == DCT ? DCT_CHUNK : DENSE_CHUNK;
}

static int64_t chunk_bytes(const Format *f, int64_t length)
{
    switch (f->codec) {
    case SPARSE: return 2 + (14 * min64(f->k, length) + 7) / 8;
    case DCT: return 2 + ((length + DCT_SIZE - 1) / DCT_SIZE * (f->rank_bits + f->k) + 7) / 8;
    case INT8: return 2 + length;
    default: return 4 * length;
    }
}

static void add_sparse(const uint8_t *chunk, int64_t k, int64_t weight, int64_t *restrict total)
{
    const uint8_t *index = chunk + 2, *codes = index + 3 * k / 2, *end = index + (14 * k + 7) / 8;
    const int64_t step = step_of(chunk) * weight, level[4] = {-3 * step, -step, step, 3 * step};
    int64_t i = 0;
    if (k % 2 == 0) { /* four entries are six bytes of indices and one of levels; eight bytes are read */
        for (const uint8_t *six = index; i + 4 <= k && six + 8 <= end; i += 4, six += 6, codes++) {
            const uint64_t at = read_u64(six);
            const unsigned code = *codes;
            total[at >> 52] += level[code >> 6];
            total[at >> 40 & 0xFFF] += level[code >> 4 & 3];
            total[at >> 28 & 0xFFF] += level[code >> 2 & 3];
            total[at >> 16 & 0xFFF] += level[code & 3];
        }
    }
    for (; i < k; i++)
        total[bits_at(index, end - index, 12 * i, 12)] += level[bits_at(index, end - index, 12 * k + 2 * i, 2)];
}

static void add_int8(const uint8_t *chunk, int64_t length, int32_t weight, int64_t *restrict total)
{
    const int64_t step = step_of(chunk) * weight;
    const int8_t *q = (const int8_t *)chunk + 2;
    for (int64_t i = 0; i < length; i++) total[i] += q[i] * step;
}

static void add_fixed(const uint8_t *chunk, int64_t length, int32_t weight, int64_t *restrict total)
{
    for (int64_t i = 0; i < length; i++) total[i] += (int64_t)read_i32(chunk + 4 * i) * weight;
}

/* The values of one span of 64 coefficients, in 2^-16 of a step. */
static void dct_span(const Format *f, const uint8_t *chunk, int64_t bytes, int64_t at, int32_t *restrict sums)
{
    int64_t rest = (int64_t)bits_at(chunk, bytes, at, f->rank_bits);
    memset(sums, 0, DCT_SIZE * sizeof *sums);
    for (int j = f->k; j > 0; j--) {
        const int64_t *column = f->binomials + j * DCT_SIZE;
        int64_t member = -1; /* the largest with binomial(member, j) <= rest; 0 always is */
        for (int i = 0; i < DCT_SIZE; i++) member += column[i] <= rest;
        rest -= column[member];
        const int64_t bit = at + f->rank_bits + j - 1;
        const int32_t sign = chunk[bit >> 3] >> (7 - (bit & 7)) & 1 ? -1 : 1, *row = f->basis + member * DCT_SIZE;
        for (int x = 0; x < DCT_SIZE; x++) sums[x] += sign * row[x];
    }
}

static void dct_values(const Format *f, const uint8_t *chunk, int64_t length, int32_t *restrict out)
{
    const int64_t bytes = chunk_bytes(f, length), step = step_of(chunk);
    int32_t sums[DCT_SIZE];
    for (int64_t x = 0; x < length; x += DCT_SIZE) {
        const int64_t here = min64(DCT_SIZE, length - x);
        dct_span(f, chunk, bytes, 16 + x / DCT_SIZE * (f->rank_bits + f->k), sums);
        for (int64_t i = 0; i < here; i++) out[x + i] = (int32_t)divide_q16(sums[i] * step);
    }
}

static void add_chunk(const Format *f, const uint8_t *chunk, int64_t length, int32_t weight, int64_t *restrict total)
{
    int32_t values[DCT_CHUNK];
    switch (f->codec) {
    case SPARSE: add_sparse(chunk, min64(f->k, length), weight, total); break;
    case INT8: add_int8(chunk, length, weight, total); break;
    case FIXED: add_fixed(chunk, length, weight, total); break;
    case DCT:
        dct_values(f, chunk, length, values);
        for (int64_t i = 0; i < length; i++) total[i] += (int64_t)values[i] * weight;
    }
}

/* Adds the weighted values [start, start + length) of an update; start is a multiple of BLOCK. */
static void add_block(const Format *f, const uint8_t *body, int64_t start, int64_t length, int32_t weight,
                      int64_t *restrict total)
{
    const int64_t size = chunk_values(f), bytes = chunk_bytes(f, size);
    const uint8_t *chunk = body + start / size * bytes;
    int64_t at = 0;
    const int64_t ahead = BLOCK / size * bytes; /* this update's next turn; many files are too much for hardware */
    for (; at + size <= length; at += size, chunk += bytes) {
        for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(chunk + ahead + line, 0, 2);
        add_chunk(f, chunk, size, weight, total + at);
    }
    if (at < length) add_chunk(f, chunk, length - at, weight, total + at);
}

/* --- the check of a file ------------------------------------------------------------------------------------ */

typedef unsigned __int128 u128;

static int check_sparse(const uint8_t *chunk, int64_t length, int64_t k, int64_t largest, u128 *squares)
{
    const uint8_t *index = chunk + 2;
    const int64_t bytes = (14 * k + 7) / 8, step = step_of(chunk);
    int64_t last = -1, big = 0, ok = is_step(chunk, largest);
    for (int64_t i = 0; i < k; i++) {
        const int64_t byte = 3 * i / 2, at = i % 2 ? (index[byte] & 15) << 8 | index[byte + 1]
                                                   : index[byte] << 4 | index[byte + 1] >> 4;
        const unsigned bit = (unsigned)(12 * k + 2 * i), code = index[bit >> 3] >> (6 - (bit & 7)) & 3;
        ok &= at > last && (step > 0 || code == 2);
        big += code == 0 || code == 3;
        last = at;
    }
    ok &= last < length && (index[bytes - 1] & ((1 << (bytes * 8 - 14 * k)) - 1)) == 0;
    *squares = (u128)(step * step) * (uint64_t)(k + 8 * big);
    return (int)ok;
}

static int check_int8(const uint8_t *chunk, int64_t length, int64_t largest, u128 *squares)
{
    const int8_t *q = (const int8_t *)chunk + 2;
    const int64_t step = step_of(chunk);
    int32_t sum = 0, lowest = 0;
    for (int64_t i = 0; i < length; i++) {
        sum += q[i] * q[i];
        lowest = q[i] < lowest ? q[i] : lowest;
    }
    *squares = (u128)(step * step) * (uint64_t)sum;
    return is_step(chunk, largest) && lowest > -128 && (step > 0 || sum == 0);
}

static u128 sum_of_squares(const int32_t *values, int64_t length)
{
    uint64_t high = 0, mixed = 0, low = 0; /* squares of 2^31 do not add up in 64 bits, products of these do */
    for (int64_t i = 0; i < length; i++) {
        const int64_t value = values[i];
        const uint64_t size = (uint64_t)(value < 0 ? -value : value), a = size >> 16, b = size & 0xFFFF;
        high += a * a;
        mixed += a * b;
        low += b * b;
    }
    return ((u128)high << 32) + ((u128)mixed << 17) + low;
}

static int check_dct(const Format *f, const uint8_t *chunk, int64_t length, int64_t largest, int64_t sets,
                     u128 *squares)
{
    const int64_t bytes = chunk_bytes(f, length), spans = (length + DCT_SIZE - 1) / DCT_SIZE;
    const int64_t width = f->rank_bits + f->k, step = step_of(chunk), used = 16 + spans * width;
    int32_t values[DCT_CHUNK];
    int ok = is_step(chunk, largest) && bits_at(chunk, bytes, used, (int)(8 * bytes - used)) == 0;
    for (int64_t i = 0; i < spans; i++) ok &= (int64_t)bits_at(chunk, bytes, 16 + i * width, f->rank_bits) < sets;
    for (int64_t i = 2; i < bytes && step == 0; i++) ok &= chunk[i] == 0;
    if (!ok) return 0;
    dct_values(f, chunk, length, values);
    *squares = sum_of_squares(values, length);
    return 1;
}

/* Whether a body is well-formed, and the sum of squares of each chunk's values: two words each, the high one
   first. `largest` is the largest step, `sets` how many sets of k coefficients there are. */
int32_t pi_check(const Format *f, const uint8_t *body, int64_t largest, int64_t sets, uint64_t *squares)
{
    const int64_t size = chunk_values(f);
    int32_t values[DENSE_CHUNK];
    for (int64_t start = 0; start < f->values; start += size, squares += 2) {
        const int64_t length = min64(size, f->values - start);
        u128 sum = 0;
        int ok = 1;
        switch (f->codec) {
        case SPARSE: ok = check_sparse(body, length, min64(f->k, length), largest, &sum); break;
        case INT8: ok = check_int8(body, length, largest, &sum); break;
        case DCT: ok = check_dct(f, body, length, largest, sets, &sum); break;
        default:
            for (int64_t i = 0; i < length; i++) values[i] = read_i32(body + 4 * i);
            sum = sum_of_squares(values, length);
        }
        if (!ok) return 0;
        squares[0] = (uint64_t)(sum >> 64);
        squares[1] = (uint64_t)sum;
        body += chunk_bytes(f, length);
    }
    return 1;
}

/* Values [start, stop) of an update; start is a multiple of BLOCK, stop too, or the update's end. */
void pi_decode(const Format *f, const uint8_t *body, int64_t start, int64_t stop, int32_t *out)
{
    int64_t total[BLOCK];
    for (; start < stop; start += BLOCK, out += BLOCK) {
        const int64_t length = min64(BLOCK, stop - start);
        memset(total, 0, sizeof total);
        add_block(f, body, start, length, 1, total);
        for (int64_t i = 0; i < length; i++) out[i] = (int32_t)total[i];
    }
}

/* --- the outer step ----------------------------------------------------------------------------------------- */

typedef struct {
    int64_t width;
    int bits; /* the smallest with width <= 2^bits */
    uint32_t magic;
} Divisor;

static Divisor divisor(int64_t width)
{
    Divisor d = {width, 0, 0};
    while (((int64_t)1 << d.bits) < width) d.bits++;
    if (((int64_t)1 << d.bits) != width) d.magic = (uint32_t)(((uint64_t)1 << (31 + d.bits)) / (uint64_t)width + 1);
    return d;
}

/* total / (width * 2^16), half away from zero: |total| <= 2^47 * width, width < 2^15. Where width is no power of
   two, long division by two digits of 16 bits, so that products of 32 bits do: x / width = x * magic >> 31 + bits
   for x < 2^31, since magic is above 2^(31 + bits) / width by at most 1, and x / 2^(31 + bits) < 1 / width. */
static inline int64_t mean(Divisor d, int64_t total)
{
    const int64_t sign = total >> 63;
    if (d.magic == 0) return (total + ((int64_t)1 << (15 + d.bits)) + sign) >> (16 + d.bits);
    const uint64_t x = (uint64_t)(((total ^ sign) - sign + (d.width << 15)) >> 16);
    const uint32_t high = (uint32_t)(x >> 16);
    const uint32_t first = (uint32_t)((uint64_t)high * d.magic >> (31 + d.bits));
    const uint32_t rest = (high - first * (uint32_t)d.width) << 16 | (uint32_t)(x & 0xFFFF);
    const uint32_t second = (uint32_t)((uint64_t)rest * d.magic >> (31 + d.bits));
    return (((int64_t)first << 16 | second) ^ sign) - sign;
}

typedef struct {
    int32_t rule;
    int64_t lr, mu;
    Divisor width;
} Rule;

static int32_t moved(int32_t theta, int64_t by) { return (int32_t)clip(theta - by, INT32_MIN, INT32_MAX); }

/* The outer rule. Momentum is int64 at any address: in a mapped file it lies at any 4 bytes. */
static void apply(Rule r, int64_t length, const int64_t *restrict total, const int32_t *restrict theta,
                  int32_t *restrict new_theta, const uint8_t *restrict momentum, uint8_t *restrict new_momentum)
{
    const int64_t lr = r.lr, mu = r.mu, bound = ((int64_t)1 << 62) / (lr > 0 ? lr : 1);
    switch (r.rule) {
    case SGD:
        for (int64_t i = 0; i < length; i++) new_theta[i] = moved(theta[i], divide_q16(mean(r.width, total[i]) * lr));
        return;
    case SIGN:
        for (int64_t i = 0; i < length; i++) new_theta[i] = moved(theta[i], lr * ((total[i] > 0) - (total[i] < 0)));
        return;
    case NESTEROV:
        for (int64_t i = 0; i < length; i++) {
            int64_t m;
            memcpy(&m, momentum + 8 * i, sizeof m);
            const int64_t step = mean(r.width, total[i]);
            m = clip(divide_q16(mu * m) + step, -MOMENTUM_MAX, MOMENTUM_MAX);
            memcpy(new_momentum + 8 * i, &m, sizeof m);
            new_theta[i] = moved(theta[i], divide_q16(clip(step + divide_q16(mu * m), -bound, bound) * lr));
        }
    }
}

/* Has the caches fetch share i of n of `bytes` bytes, to be read or, where `write`, written. */
static void fetch(const void *from, int64_t bytes, int64_t i, int64_t n, int write)
{
    for (int64_t line = i * bytes / n / 64 * 64; line < (i + 1) * bytes / n; line += 64)
        if (write) __builtin_prefetch((const char *)from + line, 1, 2);
        else __builtin_prefetch((const char *)from + line, 0, 2);
}

/* New theta (and momentum) of the places [start, stop) of an update's, from `count` bodies and their weights
   (width * factor). The four arrays begin at `start`, which is a multiple of BLOCK. */
void pi_step(const Format *f, int64_t count, const uint8_t *const *bodies, const int32_t *weights, int64_t width,
             int32_t rule, int64_t lr, int64_t mu, int64_t start, int64_t stop, const int32_t *theta,
             int32_t *new_theta, const uint8_t *momentum, uint8_t *new_momentum)
{
    const Rule r = {rule, lr, mu, divisor(width)};
    int64_t total[BLOCK];
    for (int64_t block = start; block < stop; block += BLOCK) {
        const int64_t length = min64(BLOCK, stop - block), here = block - start;
        memset(total, 0, sizeof total);
        for (int64_t i = 0; i < count; i++) { /* what comes behind the sums is under way meanwhile */
            fetch(theta + here, 4 * length, i, count, 0);
            fetch(new_theta + here, 4 * length, i, count, 1);
            if (rule == NESTEROV) fetch(momentum + 8 * here, 8 * length, i, count, 0);
            if (rule == NESTEROV) fetch(new_momentum + 8 * here, 8 * length, i, count, 1);
            add_block(f, bodies[i], block, length, weights[i], total);
        }
        apply(r, length, total, theta + here, new_theta + here, rule == NESTEROV ? momentum + 8 * here : 0,
              rule == NESTEROV ? new_momentum + 8 * here : 0);
    }
}

/* --- activation proofs -------------------------------------------------------------------------------------- */

enum { POINTS = 128, PRIME = 65497, MIN_MODULUS = 32769, PROOF_BYTES = 2 + 2 * POINTS };
enum { SIGN_AND_EXPONENT = 0xFF80, MANTISSA = 0x7F, MAGNITUDE = 0x7FFF, INFINITE = 0x7F80 };

typedef struct {
    uint32_t magnitude, index;
} Point;

/* x mod PRIME, which is 2^16 - 39. */
static uint32_t reduce(uint32_t x)
{
    x = (x >> 16) * 39 + (x & 0xFFFF);
    x = (x >> 16) * 39 + (x & 0xFFFF); /* below 2 * PRIME now */
    return x < PRIME ? x : x - PRIME;
}

static uint32_t minus(uint32_t a, uint32_t b) { return a >= b ? a - b : a + PRIME - b; }

/* Puts `point` into the place of heap[at] and restores the heap below; equals move as in Python's heapq. */
static void sift(Point *heap, int at, Point point)
{
    const int top = at;
    for (int child; (child = 2 * at + 1) < POINTS; at = child) {
        child += child + 1 < POINTS && heap[child].magnitude >= heap[child + 1].magnitude;
        heap[at] = heap[child];
    }
    for (int up; at > top && point.magnitude < heap[up = (at - 1) / 2].magnitude; at = up) heap[at] = heap[up];
    heap[at] = point;
}

static uint16_t largest_of(const uint16_t *patterns, int64_t length)
{
    uint16_t largest = 0;
    for (int64_t i = 0; i < length; i++) {
        const uint16_t magnitude = patterns[i] & MAGNITUDE;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* The POINTS largest of `size` >= POINTS bf16 patterns, as a heap. Most tiles have no value for it. */
static void top(const uint16_t *patterns, int64_t size, Point *heap)
{
    for (int i = 0; i < POINTS; i++) heap[i] = (Point){patterns[i] & MAGNITUDE, (uint32_t)i};
    for (int i = POINTS / 2 - 1; i >= 0; i--) sift(heap, i, heap[i]);
    for (int64_t tile = POINTS; tile < size; tile += TILE) {
        const int64_t stop = min64(tile + TILE, size);
        if (largest_of(patterns + tile, stop - tile) <= heap->magnitude) continue;
        for (int64_t line = tile; line < stop; line += 32) {
            const int64_t end = min64(line + 32, stop);
            if (largest_of(patterns + line, end - line) <= heap->magnitude) continue;
            for (int64_t i = line; i < end; i++) {
                const uint32_t magnitude = patterns[i] & MAGNITUDE;
                if (magnitude > heap->magnitude) sift(heap, 0, (Point){magnitude, (uint32_t)i});
            }
        }
    }
}

/* The largest modulus that keeps the indices apart, 0 where there is none. */
static uint32_t modulus_of(const Point *points)
{
    uint64_t seen[(PRIME + 63) / 64];
    for (uint32_t modulus = PRIME; modulus >= MIN_MODULUS; modulus--) {
        int i = 0;
        memset(seen, 0, sizeof seen);
        for (; i < POINTS; i++) {
            const uint32_t x = points[i].index % modulus;
            if (seen[x / 64] >> x % 64 & 1) break;
            seen[x / 64] |= (uint64_t)1 << x % 64;
        }
        if (i == POINTS) return modulus;
    }
    return 0;
}

/* Coefficients, constant first, of the polynomial through the points; x are different. */
static void interpolate(const uint32_t *restrict x, uint32_t *restrict y, const uint32_t *restrict inverses,
                        uint32_t *restrict coefficients)
{
    uint32_t newton[POINTS], powers[2][POINTS + 1] = {{0}}; /* a place in front: the power -1 */
    for (int j = 0; j < POINTS; j++) {                      /* divided differences */
        newton[j] = y[0];
        for (int i = 0; i + j + 1 < POINTS; i++)
            y[i] = reduce(minus(y[i + 1], y[i]) * inverses[minus(x[i + j + 1], x[i])]);
    }
    for (int j = POINTS - 1; j >= 0; j--) { /* Horner: power = power * (X - x_j) + newton_j */
        const uint32_t *restrict power = powers[j % 2], negative = PRIME - x[j];
        uint32_t *restrict next = powers[1 - j % 2];
        for (int i = 1; i <= POINTS; i++) next[i] = reduce(power[i - 1] + power[i] * negative);
        next[1] = reduce(next[1] + newton[j]);
    }
    memcpy(coefficients, powers[1] + 1, POINTS * sizeof *coefficients);
}

/* fp32 bits to bf16 patterns, rounded to nearest even; NaN is 0x7FC0. */
void pi_bf16(int64_t count, const uint32_t *bits, uint16_t *patterns)
{
    for (int64_t i = 0; i < count; i++) {
        const uint32_t x = bits[i], rounded = (x + 0x7FFF + (x >> 16 & 1)) >> 16;
        patterns[i] = (uint16_t)((x & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC0 : rounded);
    }
}

/* A proof for each of `count` spans of `size` >= POINTS patterns, size < 2^31. `inverses` has PRIME entries below
   PRIME. Returns how many were made: a span with NaN, or that no modulus keeps apart, ends it. */
int64_t pi_build_proofs(int64_t count, int64_t size, const uint16_t *patterns, const uint32_t *inverses,
                        uint8_t *proof)
{
    for (int64_t done = 0; done < count; done++, patterns += size) {
        Point points[POINTS];
        uint32_t x[POINTS], y[POINTS], coefficients[POINTS], not_a_number = 0;
        top(patterns, size, points);
        for (int i = 0; i < POINTS; i++) not_a_number |= points[i].magnitude > INFINITE;
        const uint32_t modulus = not_a_number ? 0 : modulus_of(points);
        if (modulus == 0) return done;
        for (int i = 0; i < POINTS; i++) {
            x[i] = points[i].index % modulus;
            y[i] = patterns[points[i].index];
        }
        interpolate(x, y, inverses, coefficients);
        *proof++ = (uint8_t)(modulus >> 8);
        *proof++ = (uint8_t)modulus;
        for (int i = 0; i < POINTS; i++) {
            *proof++ = (uint8_t)(coefficients[i] >> 8);
            *proof++ = (uint8_t)coefficients[i];
        }
    }
    return count;
}

/* The distance of that rank, 0 the smallest. */
static int32_t ranked(const int32_t *counts, int32_t rank)
{
    int32_t distance = 0;
    while (distance < MANTISSA && (rank -= counts[distance]) >= 0) distance++;
    return distance;
}

/* Holds a proof against each of `count` spans, as above. Three results per proof: how many signs or exponents
   differ, and the sum and twice the median of the distances of the other mantissas. Returns how many were
   compared: a modulus out of range ends it. */
int64_t pi_check_proofs(int64_t count, int64_t size, const uint16_t *patterns, const uint8_t *proof, int32_t *results)
{
    for (int64_t done = 0; done < count; done++, patterns += size, proof += PROOF_BYTES, results += 3) {
        const uint32_t modulus = (uint32_t)proof[0] << 8 | proof[1];
        if (modulus < MIN_MODULUS || modulus > PRIME) return done;
        Point points[POINTS];
        uint32_t x[POINTS], y[POINTS] = {0};
        int32_t counts[MANTISSA + 1] = {0}, same = 0, sum = 0;
        top(patterns, size, points);
        for (int i = 0; i < POINTS; i++) x[i] = points[i].index % modulus;
        for (int j = POINTS; j > 0; j--) { /* Horner */
            const uint32_t coefficient = (uint32_t)proof[2 * j] << 8 | proof[2 * j + 1];
            for (int i = 0; i < POINTS; i++) y[i] = reduce(y[i] * x[i] + coefficient);
        }
        for (int i = 0; i < POINTS; i++) {
            const uint32_t own = patterns[points[i].index];
            if ((own ^ y[i]) & SIGN_AND_EXPONENT) continue;
            const int32_t a = own & MANTISSA, b = y[i] & MANTISSA, distance = a < b ? b - a : a - b;
            counts[distance]++;
            sum += distance;
            same++;
        }
        results[0] = POINTS - same;
        results[1] = sum;
        results[2] = ranked(counts, (same - 1) / 2) + ranked(counts, same / 2);
    }
    return count;
}
