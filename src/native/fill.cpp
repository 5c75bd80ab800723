#include "fill.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>

#include "environment.h"
#include "threads.h"

namespace fanin {
namespace {

std::atomic<int64_t> elements_per_thread{1 << 18};
constexpr int64_t pieces_per_thread = 16;              // at least, so that a late thread takes fewer of them
constexpr int64_t longest_piece = 1 << 14;             // elements
constexpr int64_t tile_rows = 32, tile_columns = 256;  // 32 values fill whole cache lines of a transposed array

// Drops axes of length 1 and joins neighboring axes that form a single axis both in memory and in the stream.
std::vector<Axis> simplified(const std::vector<Axis>& axes) {
    std::vector<Axis> result;
    for (const Axis& axis : axes) {
        if (axis.length == 1) continue;
        if (!result.empty()) {
            Axis& outer = result.back();
            if (outer.byte_stride == axis.byte_stride * axis.length &&
                outer.index_stride == axis.index_stride * uint64_t(axis.length)) {
                outer = {outer.length * axis.length, axis.byte_stride, axis.index_stride};
                continue;
            }
        }
        result.push_back(axis);
    }
    return result;
}

// Copies rows of drawn elements to their places in memory.
template <class Word>
void scatter(const char* from, int64_t from_row, char* to, int64_t row_stride, int64_t column_stride, int64_t rows,
             int64_t columns) {
    for (int64_t column = 0; column < columns; ++column) {
        char* target = to + column * column_stride;
        const char* source = from + column * int64_t(sizeof(Word));
        for (int64_t row = 0; row < rows; ++row, target += row_stride, source += from_row)
            std::memcpy(target, source, sizeof(Word));
    }
}

// An array as a grid of tiles: `columns` is the axis whose elements are adjacent in the stream, `rows` the axis whose
// elements are adjacent in memory (of length 1 if that is the same axis or there is none).
class Tiling {
  public:
    Tiling(const Array& array, Fill kernel, const Draw& draw)
        : data(array.data), item_size(array.item_size), first_index(array.first_index), kernel(kernel), draw(draw) {
        outer = simplified(array.axes);
        const Axis single = {1, item_size, 1};
        columns = rows = single;
        if (!outer.empty() && outer.back().index_stride == 1) {
            columns = outer.back();
            outer.pop_back();
        }
        contiguous = (columns.byte_stride == item_size || columns.length == 1) && aligned();
        if (!contiguous) {
            const auto neighbours = std::find_if(outer.begin(), outer.end(),
                                                 [&](const Axis& axis) { return axis.byte_stride == item_size; });
            if (neighbours != outer.end() && columns.length > 1) {
                rows = *neighbours;
                outer.erase(neighbours);
            }
        }
        const int64_t piece = elements_per_thread / pieces_per_thread;
        width = contiguous ? std::clamp<int64_t>(piece, 64, longest_piece) : tile_columns;
        column_tiles = (columns.length + width - 1) / width;
        row_tiles = (rows.length + tile_rows - 1) / tile_rows;
        tile_count = column_tiles * row_tiles;
        for (const Axis& axis : outer) tile_count *= axis.length;
    }

    int64_t count() const { return tile_count; }

    // Fills tiles [begin, end). Only the first position takes divisions: a region may have a tile for every element.
    void fill(int64_t begin, int64_t end) const {
        int64_t rest = begin;
        int64_t column_tile = rest % column_tiles;
        rest /= column_tiles;
        int64_t row_tile = rest % row_tiles;
        rest /= row_tiles;
        int64_t position[max_rank];  // on the stack: a fill that has begun must not fail
        char* to = data;
        uint64_t index = first_index;
        for (size_t i = outer.size(); i-- > 0;) {
            position[i] = rest % outer[i].length;
            rest /= outer[i].length;
            to += position[i] * outer[i].byte_stride;
            index += uint64_t(position[i]) * outer[i].index_stride;
        }
        for (int64_t tile = begin; tile < end; ++tile) {
            fill_tile(to, index, row_tile, column_tile);
            if (++column_tile < column_tiles) continue;
            column_tile = 0;
            if (++row_tile < row_tiles) continue;
            row_tile = 0;
            for (size_t i = outer.size(); i-- > 0;) {
                to += outer[i].byte_stride;
                index += outer[i].index_stride;
                if (++position[i] < outer[i].length) break;
                to -= outer[i].length * outer[i].byte_stride;
                index -= uint64_t(outer[i].length) * outer[i].index_stride;
                position[i] = 0;
            }
        }
    }

  private:
    // Whether every element is aligned to its size; elements of views into records may not be.
    bool aligned() const {
        uint64_t all = reinterpret_cast<uintptr_t>(data) | uint64_t(columns.length > 1 ? columns.byte_stride : 0);
        for (const Axis& axis : outer) all |= uint64_t(axis.byte_stride);
        return all % uint64_t(item_size) == 0;
    }

    void fill_tile(char* to, uint64_t index, int64_t row_tile, int64_t column_tile) const {
        const int64_t column = column_tile * width, wide = std::min(width, columns.length - column);
        to += column * columns.byte_stride;
        index += uint64_t(column);
        if (contiguous) {
            kernel(draw, index, uint64_t(wide), to);
            return;
        }
        // 16 extra bytes per row keep the rows out of each other's cache sets.
        alignas(64) char made[tile_rows * (tile_columns * 8 + 16)];
        const int64_t made_row = tile_columns * item_size + 16;
        const int64_t row = row_tile * tile_rows, high = std::min(tile_rows, rows.length - row);
        to += row * rows.byte_stride;
        index += uint64_t(row) * rows.index_stride;
        for (int64_t i = 0; i < high; ++i)
            kernel(draw, index + uint64_t(i) * rows.index_stride, uint64_t(wide), made + i * made_row);
        const auto copy = item_size == 2 ? scatter<uint16_t> : item_size == 4 ? scatter<uint32_t> : scatter<uint64_t>;
        copy(made, made_row, to, rows.byte_stride, columns.byte_stride, high, wide);
    }

    char* data;
    int64_t item_size;
    uint64_t first_index;
    Fill kernel;
    const Draw& draw;
    std::vector<Axis> outer;
    Axis rows, columns;
    bool contiguous;
    int64_t width, row_tiles, column_tiles, tile_count;
};

}  // namespace

bool fill(Array array, Fill kernel, const Draw& draw, int threads, Interruption* interruption) {
    int64_t elements = 1;
    for (const Axis& axis : array.axes) elements *= axis.length;
    if (elements == 0) return true;

    const Tiling tiling(array, kernel, draw);
    const int64_t per_thread = elements_per_thread;
    const int64_t wanted = std::min({int64_t(threads), elements / per_thread, tiling.count()});
    // Threads take as many tiles at a time as make a quarter of `per_thread` elements, whatever the size of the tiles.
    const int64_t portions = std::max<int64_t>(1, elements / std::max<int64_t>(1, per_thread / 4));
    const int64_t step = std::max<int64_t>(1, tiling.count() / portions);
    std::atomic<int64_t> next{0};
    std::atomic<bool> stop{false};
    const std::thread::id caller = std::this_thread::get_id();
    const auto work = [&] {
        const DefaultFloatEnvironment environment;
        Interruption* const asked = std::this_thread::get_id() == caller ? interruption : nullptr;
        for (int64_t begin; !stop.load(std::memory_order_relaxed) && (begin = next.fetch_add(step)) < tiling.count();) {
            tiling.fill(begin, std::min(begin + step, tiling.count()));
            if (asked && begin + step < tiling.count() && asked->wanted()) stop.store(true, std::memory_order_relaxed);
        }
    };
    run_with_helpers(int(wanted) - 1, work);
    return !stop;
}

int64_t set_elements_per_thread(int64_t elements) { return elements_per_thread.exchange(std::max<int64_t>(1, elements)); }

}  // namespace fanin
