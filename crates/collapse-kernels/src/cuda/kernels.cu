// Kernels of `collapse_kernels::cuda`, compiled by NVRTC when they are first used. All arrays are contiguous f32, maps are
// [n, channels, plane] with plane = height * width. Rates and norms are multiplied in f32; sums over a block are f64.

typedef unsigned long long size;

// Whether four neighbours can be loaded at once: planes are of whole quads, and tensors begin at one.
__device__ bool in_quads(unsigned plane, const void* a, const void* b) {
    return plane % 4 == 0 && ((size)a | (size)b) % 16 == 0;
}

// The sums of a and b over the block, in its first thread. Blocks have whole warps.
__device__ void block_sums(double& a, double& b) {
    __shared__ double of_warp[2][32];
    unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    for (int offset = 16; offset > 0; offset >>= 1) {
        a += __shfl_down_sync(0xffffffffu, a, offset);
        b += __shfl_down_sync(0xffffffffu, b, offset);
    }
    if (lane == 0) {
        of_warp[0][warp] = a;
        of_warp[1][warp] = b;
    }
    __syncthreads();
    if (warp == 0) {
        bool used = lane < (blockDim.x >> 5);
        a = used ? of_warp[0][lane] : 0.0;
        b = used ? of_warp[1][lane] : 0.0;
        for (int offset = 16; offset > 0; offset >>= 1) {
            a += __shfl_down_sync(0xffffffffu, a, offset);
            b += __shfl_down_sync(0xffffffffu, b, offset);
        }
    }
}

// y = scale * (x - mean) + bias before the activation: what is the same for all pixels of a channel.
struct Channel {
    float mean, inverse, weight, bias;
};

__device__ Channel channel_of(const float* mean, const float* variance, const float* weight, const float* bias,
                              unsigned c, float epsilon) {
    return {mean[c], 1.0f / sqrtf(variance[c] + epsilon), weight[c], bias[c]};
}

__device__ float normalized(Channel c, float x) {
    return (x - c.mean) * c.inverse;
}

__device__ float activated(float x, float slope) {
    return x > 0.0f ? x : slope * x;
}

// The gradient before the activation.
__device__ float before_activation(Channel c, float x_normalized, float gradient, float slope) {
    return fmaf(x_normalized, c.weight, c.bias) > 0.0f ? gradient : slope * gradient;
}

// One block a channel. `out` is [4, channels]: mean, biased variance, and the running mean and (unbiased) variance as they
// are after this batch. Values are summed as differences from the channel's first, which keeps the variance exact.
extern "C" __global__ void batch_norm_moments(const float* x, const float* running_mean, const float* running_variance,
                                              float* out, unsigned n, unsigned channels, unsigned plane,
                                              float momentum) {
    unsigned c = blockIdx.x;
    const float* first = x + (size)c * plane;
    const size stride = (size)channels * plane;
    const float shift = first[0];
    float sum = 0.0f, squares = 0.0f;
    const unsigned count = n * plane;
    if (in_quads(plane, x, x)) {
        const unsigned quads = plane / 4;
        for (unsigned i = threadIdx.x; i < count / 4; i += blockDim.x) {
            unsigned image = i / quads, quad = i - image * quads;
            float4 v = reinterpret_cast<const float4*>(first + image * stride)[quad];
            float a = v.x - shift, b = v.y - shift, d = v.z - shift, e = v.w - shift;
            sum += (a + b) + (d + e);
            squares += (a * a + b * b) + (d * d + e * e);
        }
    } else {
        for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
            unsigned image = i / plane;
            float a = first[image * stride + (i - image * plane)] - shift;
            sum += a;
            squares += a * a;
        }
    }
    double total = sum, total_squares = squares;
    block_sums(total, total_squares);
    if (threadIdx.x == 0) {
        double mean = total / count;
        double variance = fmax(total_squares / count - mean * mean, 0.0);
        double unbiased = variance * count / (count > 1 ? count - 1 : 1);
        mean += shift;
        out[c] = (float)mean;
        out[channels + c] = (float)variance;
        out[2 * channels + c] = (float)(momentum * mean + (1.0 - momentum) * running_mean[c]);
        out[3 * channels + c] = (float)(momentum * unbiased + (1.0 - momentum) * running_variance[c]);
    }
}

// Whole quads of pixels of one channel at a time where a plane has them.
#define FOR_EACH_QUAD(i, c)                                                                                   \
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x, c = i / (plane / 4) % channels; i < total / 4;     \
         i += gridDim.x * blockDim.x, c = i / (plane / 4) % channels)
#define FOR_EACH(i, c)                                                                                        \
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x, c = i / plane % channels; i < total;               \
         i += gridDim.x * blockDim.x, c = i / plane % channels)

// y = activation(weight * (x - mean) / sqrt(variance + epsilon) + bias).
extern "C" __global__ void batch_norm(const float* x, const float* mean, const float* variance, const float* weight,
                                      const float* bias, float* y, unsigned channels, unsigned plane, unsigned total,
                                      float epsilon, float slope) {
    if (in_quads(plane, x, y)) {
        FOR_EACH_QUAD(i, c) {
            Channel channel = channel_of(mean, variance, weight, bias, c, epsilon);
            float4 v = reinterpret_cast<const float4*>(x)[i];
            v.x = activated(fmaf(normalized(channel, v.x), channel.weight, channel.bias), slope);
            v.y = activated(fmaf(normalized(channel, v.y), channel.weight, channel.bias), slope);
            v.z = activated(fmaf(normalized(channel, v.z), channel.weight, channel.bias), slope);
            v.w = activated(fmaf(normalized(channel, v.w), channel.weight, channel.bias), slope);
            reinterpret_cast<float4*>(y)[i] = v;
        }
    } else {
        FOR_EACH(i, c) {
            Channel channel = channel_of(mean, variance, weight, bias, c, epsilon);
            y[i] = activated(fmaf(normalized(channel, x[i]), channel.weight, channel.bias), slope);
        }
    }
}

// One block a channel. `out` is [2, channels]: the gradients of bias and weight.
extern "C" __global__ void batch_norm_sums(const float* x, const float* gradient, const float* mean,
                                           const float* variance, const float* weight, const float* bias, float* out,
                                           unsigned n, unsigned channels, unsigned plane, float epsilon, float slope) {
    unsigned c = blockIdx.x;
    const size first = (size)c * plane, stride = (size)channels * plane;
    Channel channel = channel_of(mean, variance, weight, bias, c, epsilon);
    float sum = 0.0f, product = 0.0f;
    const unsigned count = n * plane;
    if (in_quads(plane, x, gradient)) {
        const unsigned quads = plane / 4;
        for (unsigned i = threadIdx.x; i < count / 4; i += blockDim.x) {
            unsigned image = i / quads, quad = i - image * quads;
            float4 v = reinterpret_cast<const float4*>(x + first + image * stride)[quad];
            float4 g = reinterpret_cast<const float4*>(gradient + first + image * stride)[quad];
            v.x = normalized(channel, v.x);
            v.y = normalized(channel, v.y);
            v.z = normalized(channel, v.z);
            v.w = normalized(channel, v.w);
            g.x = before_activation(channel, v.x, g.x, slope);
            g.y = before_activation(channel, v.y, g.y, slope);
            g.z = before_activation(channel, v.z, g.z, slope);
            g.w = before_activation(channel, v.w, g.w, slope);
            sum += (g.x + g.y) + (g.z + g.w);
            product += (g.x * v.x + g.y * v.y) + (g.z * v.z + g.w * v.w);
        }
    } else {
        for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
            unsigned image = i / plane;
            size at = first + image * stride + (i - image * plane);
            float v = normalized(channel, x[at]);
            float g = before_activation(channel, v, gradient[at], slope);
            sum += g;
            product += g * v;
        }
    }
    double total = sum, total_product = product;
    block_sums(total, total_product);
    if (threadIdx.x == 0) {
        out[c] = (float)total;
        out[channels + c] = (float)total_product;
    }
}

// The gradient of x: weight / sqrt(variance + epsilon) * (g - mean(g) - normalized * mean(g * normalized)).
extern "C" __global__ void batch_norm_gradient(const float* x, const float* gradient, const float* sums,
                                               const float* mean, const float* variance, const float* weight,
                                               const float* bias, float* out, unsigned channels, unsigned plane,
                                               unsigned total, float epsilon, float slope) {
    const float share = (float)channels / total;
    if (in_quads(plane, x, gradient)) {
        FOR_EACH_QUAD(i, c) {
            Channel channel = channel_of(mean, variance, weight, bias, c, epsilon);
            float of_bias = sums[c] * share, of_weight = sums[channels + c] * share;
            float scale = channel.weight * channel.inverse;
            float4 v = reinterpret_cast<const float4*>(x)[i];
            float4 g = reinterpret_cast<const float4*>(gradient)[i];
            v.x = normalized(channel, v.x);
            v.y = normalized(channel, v.y);
            v.z = normalized(channel, v.z);
            v.w = normalized(channel, v.w);
            g.x = scale * (before_activation(channel, v.x, g.x, slope) - of_bias - v.x * of_weight);
            g.y = scale * (before_activation(channel, v.y, g.y, slope) - of_bias - v.y * of_weight);
            g.z = scale * (before_activation(channel, v.z, g.z, slope) - of_bias - v.z * of_weight);
            g.w = scale * (before_activation(channel, v.w, g.w, slope) - of_bias - v.w * of_weight);
            reinterpret_cast<float4*>(out)[i] = g;
        }
    } else {
        FOR_EACH(i, c) {
            Channel channel = channel_of(mean, variance, weight, bias, c, epsilon);
            float v = normalized(channel, x[i]);
            float g = before_activation(channel, v, gradient[i], slope);
            out[i] = channel.weight * channel.inverse * (g - sums[c] * share - v * (sums[channels + c] * share));
        }
    }
}

// activation(a + b).
extern "C" __global__ void add_activated(const float* a, const float* b, float* out, unsigned total, float slope) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        out[i] = activated(a[i] + b[i], slope);
    }
}

// The gradient before an activation whose output was y: both have one sign.
extern "C" __global__ void activation_gradient(const float* y, const float* gradient, float* out, unsigned total,
                                               float slope) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        out[i] = y[i] > 0.0f ? gradient[i] : slope * gradient[i];
    }
}

// The sum over a block of products; one block.
__device__ double dot_of_block(const float* a, const float* b, unsigned from, unsigned to) {
    float sum = 0.0f;
    for (unsigned i = from + threadIdx.x; i < to; i += blockDim.x) {
        sum += a[i] * b[i];
    }
    double total = sum, nothing = 0.0;
    block_sums(total, nothing);
    return total;
}

// x / max(|x|, 1e-12); one block.
extern "C" __global__ void unit_length(const float* x, float* out, unsigned total) {
    __shared__ float inverse;
    double squares = dot_of_block(x, x, 0, total);
    if (threadIdx.x == 0) {
        inverse = (float)(1.0 / fmax(sqrt(squares), 1e-12));
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < total; i += blockDim.x) {
        out[i] = x[i] * inverse;
    }
}

// The inner product of a and b; one block.
extern "C" __global__ void inner_product(const float* a, const float* b, float* out, unsigned total) {
    double sum = dot_of_block(a, b, 0, total);
    if (threadIdx.x == 0) {
        *out = (float)sum;
    }
}

// Inner products of parts of a and b, one a block.
extern "C" __global__ void inner_products_of_parts(const float* a, const float* b, float* out, unsigned total) {
    unsigned part = (total + gridDim.x - 1) / gridDim.x;
    unsigned from = min(blockIdx.x * part, total);
    double sum = dot_of_block(a, b, from, min(from + part, total));
    if (threadIdx.x == 0) {
        out[blockIdx.x] = (float)sum;
    }
}

// What a weight is divided by: max(sigma / coefficient, 1) + epsilon.
__device__ float spectral_divisor(float sigma, float coefficient, float epsilon) {
    return fmaxf(sigma / coefficient, 1.0f) + epsilon;
}

// x divided by the spectral divisor.
extern "C" __global__ void divided_by_norm(const float* x, const float* sigma, float* out, unsigned total,
                                           float coefficient, float epsilon) {
    float divisor = spectral_divisor(*sigma, coefficient, epsilon);
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        out[i] = x[i] / divisor;
    }
}

// The gradient of sigma = <u, y> as y receives it: -sum(gradient * weight) / divisor^2 / coefficient * u where the norm
// counts. The sum comes in parts.
extern "C" __global__ void norm_gradient(const float* u, const float* sigma, const float* sums, float* out,
                                         unsigned total, unsigned parts, float coefficient, float epsilon) {
    __shared__ float factor;
    if (threadIdx.x == 0) {
        double sum = 0.0;
        for (unsigned i = 0; i < parts; i++) {
            sum += sums[i];
        }
        float divisor = spectral_divisor(*sigma, coefficient, epsilon);
        factor = *sigma > coefficient ? (float)(-sum / ((double)divisor * divisor * coefficient)) : 0.0f;
    }
    __syncthreads();
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        out[i] = factor * u[i];
    }
}

// `out` is [2, total]: weights and momentum after a step.
extern "C" __global__ void sgd_step(const float* weight, const float* momentum, const float* gradient, float* out,
                                    unsigned total, float learning_rate, float decay_of_momentum, float weight_decay,
                                    unsigned nesterov) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        float g = fmaf(weight_decay, weight[i], gradient[i]);
        float v = fmaf(decay_of_momentum, momentum[i], g);
        float step = nesterov ? fmaf(decay_of_momentum, v, g) : v;
        out[i] = weight[i] - learning_rate * step;
        out[total + i] = v;
    }
}
