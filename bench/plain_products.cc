#include "bench/plain_products.h"

#include <omp.h>

#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "cachestore/base/check.h"
#include "engine/backend/weight_memory.h"

namespace reprise::bench {

using dnnl::memory;

std::vector<ProductShape> LayerProducts(const engine::ModelConfig& config) {
  const int64_t query = config.num_heads * config.head_dim;
  const int64_t key = config.num_kv_heads * config.head_dim;
  return {{config.hidden_size, query + 2 * key},
          {query, config.hidden_size},
          {config.hidden_size, config.intermediate_size * (config.gated_mlp ? 2 : 1)},
          {config.intermediate_size, config.hidden_size}};
}

class PlainProducts::Impl {
 public:
  Impl(const std::vector<ProductShape>& shapes, int layers, engine::ElementType type, int64_t rows,
       int num_threads)
      : num_threads_(num_threads) {
    omp_set_num_threads(num_threads_);
    const auto data_type =
        type == engine::ElementType::kBF16 ? memory::data_type::bf16 : memory::data_type::f32;
    for (const ProductShape& shape : shapes) {
      const memory::desc x({rows, shape.in}, data_type, memory::format_tag::ab);
      const memory::desc any({shape.in, shape.out}, data_type, memory::format_tag::any);
      const memory::desc out({rows, shape.out}, memory::data_type::f32, memory::format_tag::ab);
      Product product;
      const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(x, any, out), engine_);
      product.primitive = dnnl::matmul(plan);
      product.x = Fill(x);
      product.out = Fill(out);
      for (int i = 0; i < layers; ++i) product.weights.push_back(Fill(plan.weights_desc()));
      products_.push_back(std::move(product));
    }
  }

  void Run() {
    omp_set_num_threads(num_threads_);
    for (size_t layer = 0; layer < products_[0].weights.size(); ++layer) {
      for (Product& product : products_) {
        product.primitive.execute(stream_, {{DNNL_ARG_SRC, product.x},
                                            {DNNL_ARG_WEIGHTS, product.weights[layer]},
                                            {DNNL_ARG_DST, product.out}});
      }
    }
    stream_.wait();
  }

 private:
  struct Product {
    dnnl::matmul primitive;
    memory x;
    memory out;
    std::vector<memory> weights;  // by layer
  };

  // Memory of that layout, of the kind that our weights lie in. Every element is a small number.
  memory Fill(const memory::desc& layout) {
    auto bytes = engine::AllocateWeightMemory(layout.get_size());
    CHECK(bytes.ok());
    std::memset(bytes->get(), 0x3C, layout.get_size());  // 0x3C3C: 0.0115 as bf16, and so as f32
    memories_.push_back(*std::move(bytes));
    return memory(layout, engine_, memories_.back().get());
  }

  const int num_threads_;
  const dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::vector<engine::WeightMemory> memories_;
  std::vector<Product> products_;
};

PlainProducts::PlainProducts(const std::vector<ProductShape>& shapes, int layers,
                             engine::ElementType type, int64_t rows, int num_threads)
    : impl_(std::make_unique<Impl>(shapes, layers, type, rows, num_threads)) {}
PlainProducts::~PlainProducts() = default;

void PlainProducts::Run() { impl_->Run(); }

}  // namespace reprise::bench
