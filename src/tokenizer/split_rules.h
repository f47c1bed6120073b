/* split_rules.h: rules that look at finer classes of characters than letter, number, space (split_rules.c). */
#ifndef FKV_TOKENIZER_SPLIT_RULES_H
#define FKV_TOKENIZER_SPLIT_RULES_H

#include "tokenizer/pretokenize.h"

size_t fkv_split_tekken(const char *text, size_t n);
size_t fkv_split_gpt4o(const char *text, size_t n);
size_t fkv_split_qwen35(const char *text, size_t n);
size_t fkv_split_minicpm5(const char *text, size_t n);
size_t fkv_split_deepseek_coder(const char *text, size_t n);
size_t fkv_split_deepseek3(const char *text, size_t n);
size_t fkv_split_default(const char *text, size_t n);

/* 's|'t|'re|'ve|'m|'ll|'d at the start of the text: its length, or 0. */
size_t fkv_contraction(const char *text, size_t n, bool any_case);

#endif
